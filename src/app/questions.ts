// Questions: what an app asks of others in a transaction, where derived rows cannot be seen, or of a packet that is traced. Whoever asks declares the
// question in its model.ts and decides without an answer when nobody has one; an app that requires it answers, in code, as long as it is there itself.

/** `F`: what is asked, and what an answer is. Pure: a transaction may be run again. */
export interface Question<F extends (...args: never[]) => unknown> {
  readonly name: string;
  /** Never set: carries the type. */
  readonly form?: F;
}

/** `export const openingHours = defineQuestion<(view: ReadView, day: string) => number>("opening_hours")` */
export const defineQuestion = <F extends (...args: never[]) => unknown>(name: string): Question<F> => ({ name });

/** An app's answer to a question, for App.answers. */
export interface QuestionAnswer {
  readonly question: Question<(...args: never[]) => unknown>;
  readonly run: (...args: never[]) => unknown;
}

/** `answers: [answer(openingHours, (view, day) => ...)]` */
export const answer = <F extends (...args: never[]) => unknown>(question: Question<F>, run: NoInfer<F>): QuestionAnswer => ({ question, run });

/** Asks: the answers of all apps that have one, in the order of `requires`. */
export type Ask = <A extends readonly unknown[], R>(question: Question<(...args: A) => R>, ...args: A) => readonly R[];

/** An `Ask` of these apps, which are in the order of `requires`. */
export const askOf = (apps: readonly { readonly answers?: readonly QuestionAnswer[] }[]): Ask => {
  const all = apps.flatMap(({ answers = [] }) => answers);
  return <A extends readonly unknown[], R>(question: Question<(...args: A) => R>, ...args: A) => all.filter((a) => a.question === question).map(({ run }) => (run as unknown as (...args: A) => R)(...args));
};
