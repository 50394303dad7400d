import { test } from "vitest"; import { Ovs } from "./ovs.ts"; test("x", async () => {
console.time("start");
const o = await Ovs.start({ "system-id": "hv1" });
console.timeEnd("start");
console.log(await o.vsctl("add-br", "br-int", "--", "set", "bridge", "br-int", "fail_mode=secure"));
await o.vsctl("add-port","br-int","gnv","--","set","interface","gnv","type=geneve","options:remote_ip=flow","options:key=flow","ofport_request=1000");
await o.vsctl("add-port","br-int","v1","--","set","interface","v1","external_ids:iface-id=abc");
await o.vsctl("add-port","br-int","v2");
console.log(await o.vsctl("list","interface","v1", "v2", "gnv"), await o.vsctl("list","bridge"), await o.vsctl("list","Open_vSwitch"));
await o.ofctl("add-flow","br-int","xxreg3=5,actions=load:1->NXM_NX_REG0[0..3],set_field:7->reg2,resubmit(,3),controller");
await o.ofctl("add-flow","br-int","tcp,tp_dst=5,reg1=0x10/0xff,vlan_tci=0x1000/0x1000,actions=load:1->NXM_NX_REG0[],set_field:7->xxreg2,goto_table:3");
console.log(await o.flows()); console.log((await o.commits()).length, await o.commits());
await o.stop();
});
