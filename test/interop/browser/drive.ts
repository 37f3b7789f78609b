// Drives the page of examples/browser in a headless Chromium, as a person would: fills in its form with the variables
// of the story, presses the button of a command, prints what the page shows, and ends as the command did.
// Usage: CHROMIUM=path PAGE=url [CLOSE_PAGE_AT=line] node drive.ts COMMAND
import { launch, type Page } from "puppeteer-core";

const { CHROMIUM = "", PAGE = "", CLOSE_PAGE_AT, TASKGATE_ADDRESS = "", TASKGATE_TOKEN = "" } = process.env;
const fields: Record<string, string | undefined> = {
  gateway: `http://${TASKGATE_ADDRESS}`,
  token: TASKGATE_TOKEN,
  taskRunId: process.env.ORCHESTRA_TASK_RUN_ID,
  callbackRoute: process.env.CALLBACK_ROUTE,
  definition: process.env.AIDBOX_DEFINITION,
  taskCount: process.env.AIDBOX_TASKS,
};

// Its sandbox cannot be had by root. By the pipe it ends with this process, however that ends.
const browser = await launch({ executablePath: CHROMIUM, args: ["--no-sandbox"], pipe: true });
const page = await browser.newPage();
page.on("console", (message) => {
  if (message.type() === "error") {
    process.stderr.write(`${message.text()}\n`);
  }
});
await page.goto(PAGE);
for (const [name, value] of Object.entries(fields)) {
  if (value !== undefined) {
    await page.locator(`input[name=${name}]`).fill(value);
  }
}
await page.locator(`button[value=${process.argv[2]}]`).click();
process.exitCode = await follow(page);
await browser.close();

async function follow(page: Page): Promise<number> {
  let shown = 0;
  for (;;) {
    const news = await page.waitForFunction(
      (shown) => {
        const log = document.querySelector("pre");
        const text = log?.textContent ?? "";
        const exitCode = log?.dataset.exitCode;
        return text.length > shown || exitCode !== undefined ? { text, exitCode } : undefined;
      },
      { polling: "mutation", timeout: 0 },
      shown,
    );
    const { text, exitCode } = await news.jsonValue();
    process.stdout.write(text.slice(shown));
    shown = text.length;
    if (CLOSE_PAGE_AT !== undefined && text.split("\n").includes(CLOSE_PAGE_AT)) {
      await page.close();
      process.stdout.write("closed\n");
      // The browser stays, so that it is the page that is gone.
      await new Promise((resolve) => process.once("SIGTERM", resolve));
      return 0;
    }
    if (exitCode !== undefined) {
      return Number(exitCode);
    }
  }
}
