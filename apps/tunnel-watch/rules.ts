// The same few flows on every host, whatever tunnels it has: who may send to it by a tunnel may send it probes, and those go to the controller.
import { baseScope } from "#app";
import { framesOfNone } from "../overlay/model.ts";
import { HEARD, PROBE_MAC, PROBE_TYPE } from "./frames.ts";
import { probeMeters } from "./model.ts";
import { tunnelWatch } from "./tables.ts";

export const staticFlows = tunnelWatch.static((out) => {
  out.item(baseScope, "meter", probeMeters.min, { unit: "pps", rate: 25, burst: 50 });
  framesOfNone(out, PROBE_MAC, tunnelWatch.entrance("tunnel_probe"));
  out.flow(baseScope, "tunnel_probe", { priority: 100, match: { eth_type: PROBE_TYPE }, meter: probeMeters.min, actions: [{ type: "punt", maxLen: HEARD }] });
});
