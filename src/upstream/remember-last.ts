/** Returns a function that makes a value anew only for another argument than the last one. */
export function rememberLast<Argument, Value>(
  make: (argument: Argument) => Value,
): (argument: Argument) => Value {
  let last: { argument: Argument; value: Value } | undefined;
  return (argument) => {
    if (last === undefined || last.argument !== argument) {
      last = { argument, value: make(argument) };
    }
    return last.value;
  };
}
