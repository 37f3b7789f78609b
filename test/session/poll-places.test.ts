import { expect, test } from "vitest";
import { createPollPlaces } from "../../src/session/poll-places.ts";

test("who found no place is woken in turn, until one takes it", () => {
  const places = createPollPlaces(1);
  const woken: string[] = [];
  const one = () => woken.push("one, who wants it no more");
  const two = () => {
    woken.push("two");
    places.enter(two);
  };
  const three = () => woken.push("three");
  expect(places.enter(one)).toBe(true);
  expect([one, two, one, three].map(places.enter)).toEqual([false, false, false, false]);
  expect(places.isCrowded()).toBe(true);
  places.leave();
  expect(woken).toEqual(["one, who wants it no more", "two"]);
  expect(places.isCrowded()).toBe(true);
  places.leave();
  expect(woken.at(-1)).toBe("three");
  expect(places.isCrowded()).toBe(false);
  expect(places.enter(one)).toBe(true);
});
