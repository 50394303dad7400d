// What a hypervisor says of itself: external_ids of its Open_vSwitch row and other_config:vlan-limit, read and checked. Pure. A bad value becomes a
// problem with the key's name and its default; it never keeps a host from being adopted.
import { isLoopback, isMulticast, parseIp, type EncapType } from "#app";
import { limits } from "../bounds/limits.ts";

export interface HostSettings {
  readonly id: string;
  readonly hostname: string;
  readonly bridge: string;
  /** undefined: not given. */
  readonly datapathType: "system" | "netdev" | undefined;
  readonly encapIp: string;
  readonly encapTypes: readonly EncapType[];
  readonly bridgeMappings: Readonly<Record<string, string>>;
  readonly gateway: boolean;
  /** It is one that shall be used no more. */
  readonly drain: boolean;
  /** Tags of a frame that its switch looks for. */
  readonly vlanLimit: 1 | 2;
  /** undefined: not given. */
  readonly zone: string | undefined;
}

export interface Problem {
  readonly key: string;
  readonly value: string;
  readonly problem: string;
}

export interface ReadSettings {
  /** undefined: the host has no name yet, so it cannot be adopted. */
  readonly settings: HostSettings | undefined;
  readonly problems: readonly Problem[];
}

const ENCAP_TYPES: readonly EncapType[] = ["geneve", "vxlan", "gre"];
/** Goes into row ids and log lines, and names a host in the API. */
const HOST_ID = /^[^\s/|\p{Cc}]{1,255}$/u;
const BRIDGE = /^[^\s/,:\p{Cc}]{1,64}$/u;
const PHYSNET = /^(?!__proto__$)[^\s/,:\p{Cc}]{1,255}$/u;
const ZONE = /^[^\s/|,:\p{Cc}]{1,255}$/u;
const BROADCAST = "255.255.255.255";
/** Whether a tunnel can end there: one host's address, without a zone. */
function isEndpoint(text: string): boolean {
  const ip = parseIp(text);
  return ip !== undefined && ip.value !== 0n && !isMulticast(ip) && !isLoopback(ip) && text !== BROADCAST;
}

export function readSettings(ids: Readonly<Record<string, string>>, config: Readonly<Record<string, string>> = {}): ReadSettings {
  const problems: Problem[] = [];
  const first = (...keys: string[]): { key: string; value: string } => {
    for (const key of keys) {
      const value = ids[key]?.trim();
      if (value !== undefined && value.length > limits.settingText) problems.push({ key, value: value.slice(0, 64), problem: `longer than ${limits.settingText} characters; it is not used` });
      else if (value !== undefined && value !== "") return { key, value };
    }
    return { key: keys[0]!, value: "" };
  };

  const called = first("hostname");
  let hostname = called.value;
  if (hostname !== "" && !HOST_ID.test(hostname)) {
    problems.push({ ...called, value: hostname.slice(0, 255), problem: "not a name; the system-id is used" });
    hostname = "";
  }
  const name = first("system-id", "hostname");
  if (!HOST_ID.test(name.value)) {
    problems.push({ ...name, problem: name.value === "" ? "the host has no name" : "not a name: 1 to 255 characters without spaces, '/' and '|'" });
    return { settings: undefined, problems };
  }

  const ip = first("axion-encap-ip", "ovn-encap-ip");
  const [main = "", ...others] = list(ip.value);
  let encapIp = main;
  if (others.length > 0) problems.push({ ...ip, problem: `several addresses; ${encapIp} alone is used` });
  if (encapIp !== "" && !isEndpoint(encapIp)) {
    problems.push({ ...ip, problem: "not an IP address of a host; the host has no tunnels" });
    encapIp = "";
  }

  const types = first("axion-encap-type", "ovn-encap-type");
  const encapTypes: EncapType[] = [];
  for (const type of list(types.value)) {
    if (!isEncapType(type)) problems.push({ ...types, problem: `${type} is not one of geneve, vxlan, gre` });
    else if (!encapTypes.includes(type)) encapTypes.push(type);
  }
  if (encapTypes.length === 0) encapTypes.push("geneve");

  const bridge = first("axion-bridge", "ovn-bridge");
  let bridgeName = bridge.value === "" ? "br-int" : bridge.value;
  if (!BRIDGE.test(bridgeName)) {
    problems.push({ ...bridge, problem: "not a bridge name; br-int is used" });
    bridgeName = "br-int";
  }

  const datapath = first("axion-datapath-type", "ovn-bridge-datapath-type");
  let datapathType: HostSettings["datapathType"];
  if (datapath.value === "system" || datapath.value === "netdev") datapathType = datapath.value;
  else if (datapath.value !== "") problems.push({ ...datapath, problem: "not system or netdev" });

  const mappings = first("axion-bridge-mappings", "ovn-bridge-mappings");
  const bridgeMappings: Record<string, string> = {};
  for (const pair of list(mappings.value)) {
    const colon = pair.indexOf(":");
    const physnet = pair.slice(0, colon).trim();
    const target = pair.slice(colon + 1).trim();
    if (colon < 1 || !PHYSNET.test(physnet) || !BRIDGE.test(target)) problems.push({ ...mappings, problem: `${pair} is not PHYSNET:BRIDGE` });
    else if (Object.hasOwn(bridgeMappings, physnet)) problems.push({ ...mappings, problem: `${physnet} is mapped twice` });
    else bridgeMappings[physnet] = target;
  }

  const gateway = first("axion-gateway");
  const asOvn = list(ids["ovn-cms-options"] ?? "").includes("enable-chassis-as-gw");
  if (!["", "true", "false", "drain"].includes(gateway.value)) problems.push({ ...gateway, problem: "not true, false or drain" });

  const zone = first("axion-zone");
  const isZone = ZONE.test(zone.value);
  if (zone.value !== "" && !isZone) problems.push({ ...zone, value: zone.value.slice(0, 255), problem: "not a name of a zone; the default one is used" });

  return {
    settings: {
      id: name.value,
      hostname: hostname === "" ? name.value : hostname,
      bridge: bridgeName,
      datapathType,
      encapIp,
      encapTypes,
      bridgeMappings,
      gateway: gateway.value === "true" || gateway.value === "drain" || (gateway.value !== "false" && asOvn),
      drain: gateway.value === "drain",
      vlanLimit: vlanLimit(config["vlan-limit"] ?? ""),
      zone: isZone ? zone.value : undefined,
    },
    problems,
  };
}

/** As Open vSwitch reads it: absent, or no number, is 1; 0 and less is as many as it can, which are 2. */
const vlanLimit = (text: string): 1 | 2 => (/^[+-]?\d+$/.test(text.trim()) && Number(text) !== 1 ? 2 : 1);
const list = (text: string): string[] => text.split(",").map((part) => part.trim()).filter((part) => part !== "");
const isEncapType = (type: string): type is EncapType => (ENCAP_TYPES as readonly string[]).includes(type);
