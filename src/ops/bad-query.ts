// What is wrong with the query of a request to the ops listener.

/** The query parameter and what is wrong with it: 400; 404: what it names is not there; 503: too much is asked at once. */
export class BadQuery extends Error {
  readonly parameter: string;
  /** The message without the parameter. */
  readonly reason: string;
  readonly status: 400 | 404 | 503;
  constructor(parameter: string, message: string, status: 400 | 404 | 503 = 400) {
    super(`query parameter ${parameter}: ${message}`);
    this.name = "BadQuery";
    this.parameter = parameter;
    this.reason = message;
    this.status = status;
  }
}
