import module from "node:module";

// Each gateway of a test starts a thread for its store, and to compile what runs there
// costs as much as all the rest of a small test.
module.enableCompileCache(new URL("../../node_modules/.cache/taskgate-test", import.meta.url).pathname);
