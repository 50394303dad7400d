// Why a packet of a private VLAN goes no further.
import type { Explains, ReadView } from "#app";
import { portTable } from "../l2/model.ts";
import { classOf, PROMISCUOUS, pvlanPortTable } from "./model.ts";

const called = (view: ReadView, id: string): string => {
  const its = view.get(pvlanPortTable, id);
  return its?.type === "community" ? `in the community ${its.community!}` : "isolated";
};

export const explains: Explains = {
  cause(view, stop) {
    const { app, did, question, start } = stop;
    if (app !== "pvlan" || did !== "dropped") return undefined;
    const from = question?.from ?? view.by(portTable, "key", String(stop.register("in_port_key")))[0]?.id;
    const to = start?.to ?? view.by(portTable, "key", String(stop.register("out_port_key")))[0]?.id;
    const ports = [from, to].filter((id) => id !== undefined && classOf(view, id) !== PROMISCUOUS) as string[];
    return {
      reason: "pvlan", text: `${ports.map((id) => `port ${id} is ${called(view, id)}`).join(", ")}: they are kept apart`, resources: ports.map((id) => ({ type: "port", id })),
      cure: { text: "if they are to reach each other, set pvlan_type of one of them to promiscuous, or of both to community with one pvlan_community" },
    };
  },
};
