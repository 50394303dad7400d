import { beforeEach, expect, test } from "vitest";
import { Api, type Shown } from "../../test/support/api/api.ts";

let api: Api;
let router: Shown;

const p1 = { project: "p1" };
const p2 = { project: "p2" };
const FTP = { protocol: "tcp", port: 21, helper: "ftp" };
const TFTP = { protocol: "udp", port: 69, helper: "tftp" };
const UNKNOWN = "6a5bd3b5-6c5c-4d4c-8a5e-5f6d1a2b3c4d";

beforeEach(async () => {
  api = await Api.open();
  router = await api.make("router", {});
});

const path = (id = ""): string => `routers/${router.id}/conntrack_helpers${id === "" ? "" : `/${id}`}`;
const make = async (values: Record<string, unknown>): Promise<Shown> => {
  const answer = await api.call("POST", path(), { conntrack_helper: values }, p1);
  expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 201 });
  return answer.body.conntrack_helper as Shown;
};
const refused = (status: number, type: string, values: Record<string, unknown>, who: { project: string; roles?: string } = p1) => api.refused(status, type, "POST", path(), { conntrack_helper: values }, who);

test("a router has those that are made below it, and shows them", async () => {
  expect(router).toMatchObject({ conntrack_helpers: [] });
  const ftp = await make(FTP);
  const tftp = await make({ ...TFTP, protocol: "UDP", port: "69" });
  expect(ftp).toEqual({ id: ftp.id, ...FTP });
  expect(tftp).toEqual({ id: tftp.id, ...TFTP });
  expect(await api.get(path(), p1)).toMatchObject({ status: 200, body: { conntrack_helpers: expect.arrayContaining([ftp, tftp]) as unknown } });
  expect(await api.get(`${path()}?helper=ftp`, p1)).toMatchObject({ body: { conntrack_helpers: [{ id: ftp.id }] } });
  expect(await api.get(path(ftp.id), p1)).toMatchObject({ status: 200, body: { conntrack_helper: FTP } });
  expect(await api.show("router", router.id, p1)).toMatchObject({ conntrack_helpers: [FTP, TFTP] });
  expect(await api.call("DELETE", path(ftp.id), undefined, p1)).toMatchObject({ status: 204 });
  expect(await api.put(path(tftp.id), { conntrack_helper: FTP }, p1)).toMatchObject({ status: 200, body: { conntrack_helper: { id: tftp.id, ...FTP } } });
  expect(await api.show("router", router.id, p1)).toMatchObject({ conntrack_helpers: [FTP] });
  await api.delete("router", router.id, p1);
});

test("what the datapath does not have is refused, and one of each is enough", async () => {
  const ftp = await make(FTP);
  for (const helper of ["amanda", "h323", "irc", "netbios-ns", "pptp", "sane", "sip", "snmp", "nonsense"]) await refused(400, "ConntrackHelperNotAllowed", { ...FTP, helper });
  expect(await refused(400, "InvalidProtocolForHelper", { ...FTP, protocol: "udp" })).toBe("Conntrack Helper ftp does not support: udp. Supported protocols are: tcp");
  await refused(400, "InvalidProtocolForHelper", { ...TFTP, protocol: "tcp" });
  await refused(400, "BadRequest", { ...FTP, port: 2121 });
  await refused(400, "BadRequest", FTP);
  await make(TFTP);
  await make({ ...TFTP, port: 6969 });
  expect(await api.show("router", router.id, p1)).toMatchObject({ conntrack_helpers: [FTP, TFTP, { ...TFTP, port: 6969 }] });
  await api.refused(400, "BadRequest", "PUT", path(ftp.id), { conntrack_helper: TFTP }, p1);
  await api.refused(400, "InvalidProtocolForHelper", "PUT", path(ftp.id), { conntrack_helper: { protocol: "udp" } }, p1);
  for (const bad of [{ ...FTP, port: 0 }, { ...FTP, port: 65_536 }, { ...FTP, protocol: "gre" }, { protocol: "tcp", port: 21 }, { ...FTP, helper: "x".repeat(65) }]) {
    expect(await api.call("POST", path(), { conntrack_helper: bad }, p1)).toMatchObject({ status: 400 });
  }
});

test("they are the business of who owns the router", async () => {
  const ftp = await make(FTP);
  expect(await api.call("POST", path(), { conntrack_helper: TFTP }, p2)).toMatchObject({ status: 404 });
  expect(await api.call("DELETE", path(ftp.id), undefined, p2)).toMatchObject({ status: 404 });
  expect(await api.get(path(ftp.id), p2)).toMatchObject({ status: 404 });
  await refused(403, "PolicyNotAuthorized", TFTP, { project: "p1", roles: "reader" });
  expect(await api.get(path(UNKNOWN), p1)).toMatchObject({ status: 404, body: { NeutronError: { type: "ConntrackHelperNotFound" } } });
  expect(await api.get(`routers/${UNKNOWN}/conntrack_helpers`, p1)).toMatchObject({ status: 404, body: { NeutronError: { type: "RouterNotFound" } } });
});
