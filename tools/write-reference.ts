import { writeFileSync } from "node:fs";
import { configurationReference, referencePath } from "./configuration-reference.ts";

writeFileSync(referencePath, configurationReference());
