// Ranges of ports as flows match them.

export interface PortMask {
  readonly value: number;
  readonly mask: number;
}

/** The fewest value/mask pairs that match exactly the ports min..max (both 0..65535, min <= max), least first. */
export function portMasks(min: number, max: number): PortMask[] {
  const out: PortMask[] = [];
  let low = min;
  while (low <= max) {
    // The largest aligned block that begins at low and does not pass max.
    let size = low === 0 ? 0x10000 : low & -low;
    while (low + size - 1 > max) size /= 2;
    out.push({ value: low, mask: 0xffff & ~(size - 1) });
    low += size;
  }
  return out;
}

/** The same, and of a single port the number alone. */
export const portMatches = (min: number, max: number): (number | PortMask)[] => portMasks(min, max).map(({ value, mask }) => (mask === 0xffff ? value : { value, mask }));
