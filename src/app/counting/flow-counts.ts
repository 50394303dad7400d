// What flows have counted, as services read it from switches.

/** Of a flow on the switch of a chassis. */
export interface FlowCount {
  readonly chassis: string;
  /** The flow's identity on a switch. */
  readonly key: string;
  /** Since the switch has it. Exact up to 2^53; a switch counts what its datapath let pass with a delay of about a second. */
  readonly packets: number;
  readonly bytes: number;
  /** It is no flow but what counts on where it was when it is there again, as a network device that is unplugged and plugged: how often it has begun anew, as far as is known. */
  readonly lasting?: number;
  /** Of what lasts, what it is known by to controllers that start later, as a network device's ifindex. Absent: not known now. */
  readonly device?: number;
}

export interface FlowCounts {
  /** When they were asked for, RFC 3339. */
  readonly at: string;
  readonly flows: readonly FlowCount[];
  /**
   * What is no more, each told once, as it was last seen: later than in an earlier answer in which it had the same key, if there was one. `flows` may have what came in its place.
   * Of a flow that is what its switch said when it was taken off; of those that went otherwise nothing is here.
   */
  readonly ended?: readonly FlowCount[];
  /** Chassis that should have flows of it and did not say: not connected, too slow, or asked too much already. */
  readonly silent: readonly string[];
  /** True: who pays has caused too much already. Nothing was asked, and nothing is known. */
  readonly refused?: boolean;
}

/** What a flow that drops packets (Rule.drops) has counted on a switch. */
export interface DropCount {
  /** Id of what the rule emitted it for. */
  readonly entity: string;
  /** As the rule names it. */
  readonly reason: string;
  readonly table: string;
  /** Since the switch has the flow, exact up to 2^53. */
  readonly packets: number;
  readonly bytes: number;
}

/**
 * What a port of a switch has counted since it is there, OpenFlow 1.3.5 section 7.3.5.6. Exact up to 2^53; null: the switch does not know, as of a port whose device is gone while it
 * is still in the bridge.
 */
export interface PortCount {
  /** OpenFlow port. */
  readonly port: number;
  /** What came in by it, which is what a machine behind it sent; bytes with Ethernet headers. */
  readonly rx_packets: number | null;
  readonly rx_bytes: number | null;
  /** What left by it. */
  readonly tx_packets: number | null;
  readonly tx_bytes: number | null;
  /** Seconds that the port is there. */
  readonly durationS: number;
}
