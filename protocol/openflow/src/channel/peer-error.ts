// What a peer refuses, as an error.

import type { Decoded, MessageOf } from "../messages/codec.ts";
import { ERROR_TYPE_EXPERIMENTER, errorName, OpenFlowError } from "../wire/errors.ts";

/** An error message as an OpenFlowError. Without a stack, which would say nothing and is most of what it costs: a switch may refuse 50,000 messages of a bundle. */
export function peerError(message: Decoded<MessageOf<"error">>, index?: number): OpenFlowError {
  const experimenter = message.error_type === ERROR_TYPE_EXPERIMENTER ? message.experimenter : undefined;
  const type = experimenter === undefined ? message.error_type : message.code;
  const errorCode = experimenter === undefined ? message.code : 0;
  const name = errorName(type, errorCode, experimenter);
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return new OpenFlowError("OF_PEER_ERROR", `the switch refused ${index === undefined ? "a message" : `message ${index} of a bundle`}: ${name}`, {
      type, errorCode, errorName: name, xid: message.xid,
      ...(experimenter === undefined ? {} : { experimenter }),
      // Of a message of a bundle whoever sent it has all bytes.
      ...(index !== undefined ? { index } : message.data === undefined ? {} : { data: Buffer.from(message.data) }),
    });
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}
