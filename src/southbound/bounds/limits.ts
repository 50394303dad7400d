// What one peer may cost, and all together. docs/limits.md says what happens beyond each.

const KIB = 1024;
const MIB = 1024 * KIB;

export const limits = {
  /** Connections to one port from one address that are no host's yet; from loopback as well. */
  unprovedPerAddress: 128,
  /** Likewise from one /64 of IPv6, in which many hosts may be. */
  unprovedPerPrefix: 512,
  /** Likewise from all addresses. */
  unproved: 2048,
  /** Until a database that is connected has to name the host it is of. */
  unnamedMs: 60_000,

  /** OpenFlow messages of one switch in a second, and how many at once before that counts. More wait in the switch. */
  messagesPerSecond: 2000,
  messageBurst: 20_000,
  /** Bytes that wait to be sent to one switch; more ends its session. */
  queuedBytes: 16 * MIB,
  /** Beyond so many bytes that wait, packets for a switch are dropped. */
  packetOutBytes: MIB,
  /** In which a peer has to read something of what waits for it. */
  writeTimeoutMs: 30_000,
  /** A reply that is no flow dump. */
  replyBytes: 16 * MIB,
  replyParts: 16_384,
  replyTimeoutMs: 120_000,
  /** What the ports of a switch have counted, which it is asked each second: some more than a database may have rows for. */
  portCountBytes: 2 * MIB,
  /** A flow dump: this, or so many times what the switch should have, if that is more. */
  dumpBytes: 32 * MIB,
  dumpFactor: 4,
  /** Dumps that are being read, in all. */
  dumpBytesInAll: 256 * MIB,
  /** A comparison that is not done in this time lets the next one begin. */
  syncSlotMs: 180_000,
  /** How long a switch may take to show its flows to somebody who asks. */
  askedDumpMs: 10_000,

  /** One OVSDB message, of which the longest is a database's first answer. */
  ovsdbMessageBytes: 8 * MIB,
  /**
   * Of an OVSDB message of more than 64 KiB: members of one object or elements of one list, and values in all. With `rows` and ovsdbMessageBytes they are
   * one limit, of what a database may have: 32,768 rows of 15 values and 256 bytes, as ports and interfaces of machines have on average.
   */
  ovsdbElements: 32_768,
  ovsdbValues: 500_000,
  /** A schema; that of Open vSwitch 3.3 has 27,000. */
  ovsdbSchemaBytes: 256 * KIB,
  /** OVSDB messages that are being received, and four times what is being read, of all hosts. */
  ovsdbBytesInAll: 40 * MIB,
  ovsdbQueuedBytes: 8 * MIB,
  /** OVSDB messages and bytes of one host in a second, and how much at once before that counts. More wait in the host. */
  ovsdbRate: { messages: 500, messageBurst: 5000, bytes: MIB, byteBurst: 8 * MIB },
  /** Time that is spent on OVSDB messages, of hosts and of those that are no host's (yet): milliseconds in a turn of the event loop, and part of all. */
  ovsdbTurns: { hosts: { turnMs: 4, share: 2 / 3 }, strangers: { turnMs: 2, share: 1 / 2 } },
  /** Rows of one host's database that are followed. */
  rows: 32_768,
  /** Likewise of all. */
  rowsInAll: 1_000_000,
  /** Likewise of databases that are no host's (yet). */
  strangersRows: 100_000,
  /** Until a database has answered a transaction. */
  transactMs: 30_000,
  /** Interfaces of one host with an iface-id that are plugged. */
  interfaces: 4096,
  /** Characters of an iface-id, and of the name of an interface that has one. */
  interfaceText: 255,
  /** Interfaces that one transaction of the model plugs or unplugs. */
  interfacesAPiece: 128,
  /** Characters of a value of external_ids that is a setting. */
  settingText: 4096,
  /** Lines for what is wrong with one host; more are counted. */
  notes: 20,
  /** Lines in the log for them in a minute, of one host and of all. */
  noteLines: { perPeer: 60, total: 600 },
  /** Databases without a name of which GET /problems says what is wrong with each; more are counted. */
  unnamedShown: 16,
} as const;
