// No tables of its own: what it says stands in those of l2 and gateway, so that nobody passes one more.
import { definePipeline } from "#app";

export const ndpProxy = definePipeline({ tables: {}, registers: {} });
