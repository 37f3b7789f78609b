import { readFileSync } from "node:fs";

/** One step of a build. */
export interface Step {
  word: "WORKDIR" | "COPY" | "RUN";
  text: string;
}

/** The image as deploy/Dockerfile says it. */
export interface Image {
  /** What the one argument names. */
  base: string;
  /** What each stage begins with. */
  stages: string[];
  /** What the first stage does. */
  build: Step[];
  /** What the last stage takes from the first: from where to where. */
  copied: [from: string, to: string][];
  env: Record<string, string>;
  user: string;
  entrypoint: string[];
  command: string[];
}

/** Reads it. Throws for a word that a replay would not heed. */
export function readImage(path = "deploy/Dockerfile"): Image {
  const image: Image = {
    base: "",
    stages: [],
    build: [],
    copied: [],
    env: {},
    user: "",
    entrypoint: [],
    command: [],
  };
  const lines = readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  for (const line of lines) {
    const [, word = "", text = ""] = /^([A-Z]+) (.*)$/.exec(line) ?? [];
    const isBuild = image.stages.length === 1;
    if (word === "ARG" && image.base === "" && text.startsWith("NODE_IMAGE=")) {
      image.base = text.slice("NODE_IMAGE=".length);
    } else if (word === "FROM") {
      image.stages.push(text.replace(/ AS build$/, ""));
    } else if (isBuild && (word === "WORKDIR" || word === "COPY" || word === "RUN")) {
      image.build.push({ word, text });
    } else if (!isBuild && word === "COPY" && text.startsWith("--from=build ")) {
      const [from = "", to = ""] = text.slice("--from=build ".length).split(" ");
      image.copied.push([from, to]);
    } else if (!isBuild && word === "ENV") {
      const [, name = "", value = ""] = /^(\w+)="?([^"]*)"?$/.exec(text) ?? [];
      image.env[name] = value;
    } else if (word === "USER") {
      image.user = text;
    } else if (word === "ENTRYPOINT") {
      image.entrypoint = JSON.parse(text) as string[];
    } else if (word === "CMD") {
      image.command = JSON.parse(text) as string[];
    } else {
      throw new Error(`${path} says what no replay heeds: ${line}`);
    }
  }
  return image;
}
