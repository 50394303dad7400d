/**
 * Several controllers over one etcd: who is there, who acts for what, and what they tell each other.
 *
 * **Members** (members.ts). A controller has a lease in etcd, renewed four times in its length, and under it a key with what the others have to
 * know of it (`MemberRecord`). `starting`: it is there, and is nobody's master yet; `serving`: it has its share; `leaving`: it hands over. A second
 * controller of a name is refused. A member acts by its own monotonic clock: not beyond 85% of the lease after the last renewal was *asked for*, so
 * it has ceased before etcd gives what it had to others, however long it was stopped. Of one instant all members know the same set, as etcd orders
 * its changes; the revision of the last change, and the generation at which hosts came or went, are the **term**.
 *
 * **Mastership** (mastership.ts). Of the serving members the one with the highest weight for a key acts for it (rendezvous hashing), for hosts within
 * bounds that make shares even: no agreement beside the sets of members and hosts is needed, and what does not have to move stays. What happens while
 * members know different sets is said there. Three questions, which are not the same:
 *
 *  - `masterOf(chassis)`: who is it, as etcd said last. The roles that switches are asked for follow this: a member that has no etcd goes on as the
 *    master of its switches, since a switch takes changes from whoever was made its master in the latest term (OpenFlow 1.3.5, 6.3.6), so nobody
 *    is harmed, and known machines get their answers;
 *  - `masters(chassis)`, `acts(key)`: may this member do now what nothing fences: write to a host's database, to the store, to others by HTTP, send
 *    unasked packets. False without a lease.
 *
 * **What is told** (`Members.publish`): short texts under the lease, by topic, the latest alone. `confirmed` (confirmations.ts): up to which
 * generation the switches have confirmed of which the member is the master, for who comes to the same share.
 *
 * Without a cluster (`level:`) none of this is there: the switches' role is EQUAL, and one acts for all.
 */
export { Cluster, type ClusterOptions, type ClusterShown } from "./cluster.ts";
