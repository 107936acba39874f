// What benchmarks print.

/** The figures of a part: `figure` tells one at once, and `lines` has all of them, `PART FIGURE value unit` each. */
export function figures(part) {
  const lines = [];
  const figure = (name, value, unit, digits = 2) => {
    const line = `${part} ${name} ${Number(value.toFixed(digits))} ${unit}`;
    lines.push(line);
    console.error(line);
  };
  return { lines, figure };
}

export const percentile = (xs, p) => xs.slice().sort((a, b) => a - b)[Math.min(xs.length - 1, Math.floor(xs.length * p))];
