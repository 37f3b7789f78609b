// What drive.ts uses of it. The package itself is installed only for the run, so that nobody else waits for it.
declare module "puppeteer-core" {
  export interface Locator {
    fill(value: string): Promise<void>;
    click(): Promise<void>;
  }
  export interface Page {
    goto(url: string): Promise<unknown>;
    locator(selector: string): Locator;
    on(event: "console", listener: (message: { type(): string; text(): string }) => void): void;
    waitForFunction<Argument, Result>(
      inPage: (argument: Argument) => Result,
      options: { polling: "mutation"; timeout: number },
      argument: Argument,
    ): Promise<{ jsonValue(): Promise<Exclude<Result, undefined>> }>;
    close(): Promise<void>;
  }
  export interface Browser {
    newPage(): Promise<Page>;
    version(): Promise<string>;
    close(): Promise<void>;
  }
  export function launch(options: {
    executablePath: string;
    args: readonly string[];
    pipe: boolean;
  }): Promise<Browser>;
}
