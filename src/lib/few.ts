// None, one or several of a thing of which there are a great many and nearly always one: that one needs no list around it.

export const NONE: readonly never[] = [];

/** `T` is an object, and no list itself. */
export type Few<T> = T | readonly T[] | undefined;

export const isList = <T>(few: Few<T>): few is readonly T[] => Array.isArray(few);

export const listOf = <T>(few: Few<T>): readonly T[] => (few === undefined ? NONE : isList(few) ? few : [few]);

/** A copy that takes no more room than it must: there are many, and they stay. */
export const fewOf = <T>(list: readonly T[]): Few<T> => (list.length > 1 ? list.slice() : list[0]);
