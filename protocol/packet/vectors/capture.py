#!/usr/bin/env python3
"""Captures the frames of captured.txt again: real programs talk across a veth pair between two network namespaces.

Needs root, ip, bridge, ethtool, ping, arping, tcpdump, tshark, dhclient, dhcrelay, dnsmasq, radvd, dig, bird and, for what no
program here sends, scapy. For every frame tshark, as a decoder that shares nothing with ours, says what it sees: checksums it
calls bad and frames it calls malformed are refused, and its fields are written down beside the bytes for the tests to compare.

    sudo python3 capture.py > captured.txt
"""

import os, shutil, signal, struct, subprocess, sys, tempfile, textwrap, time

A, B, C = (f"pkt-{os.getpid()}-{side}" for side in "abc")
work = tempfile.mkdtemp(prefix="packet-vectors-")
running = []

# Fields of headers: the outermost occurrence. Fields of contents: all of them.
HEADER_FIELDS = """eth.dst eth.src ip.src ip.dst ip.ttl ip.proto ip.len ip.frag_offset ip.flags.df ip.flags.mf
ipv6.src ipv6.dst ipv6.hlim ipv6.plen ipv6.nxt tcp.srcport tcp.dstport tcp.seq_raw tcp.ack_raw tcp.window_size_value udp.srcport udp.dstport
udp.length icmp.type icmp.code icmpv6.type icmpv6.code""".split()
CONTENT_FIELDS = """vlan.id vlan.priority ieee8021ad.id ip.opt.type arp.opcode arp.src.proto_ipv4 arp.dst.proto_ipv4
ipv6.opt.type ipv6.opt.router_alert ipv6.routing.type ipv6.routing.segleft ipv6.fraghdr.offset ipv6.fraghdr.ident ah.spi ah.sequence
tcp.options.mss_val tcp.options.wscale.shift tcp.options.timestamp.tsval tcp.options.timestamp.tsecr tcp.options.sack_le tcp.options.sack_re
icmp.mtu icmp.redir_gw icmp.originate_timestamp icmp.address_mask icmp.mpls.label icmpv6.mtu icmpv6.pointer icmpv6.nd.ns.target_address
icmpv6.nd.na.target_address icmpv6.nd.rd.target_address icmpv6.rd.na.destination_address icmpv6.nd.ra.cur_hop_limit icmpv6.nd.ra.router_lifetime
icmpv6.opt.type icmpv6.opt.prefix icmpv6.opt.prefix.length icmpv6.opt.rdnss icmpv6.opt.mtu icmpv6.opt.route_lifetime icmpv6.opt.linkaddr
icmpv6.mld.maximum_response_code icmpv6.mld.multicast_address icmpv6.mld.source_address icmpv6.mldr.mar.record_type icmpv6.mldr.mar.multicast_address
icmpv6.mldr.mar.source_address igmp.type igmp.maddr igmp.saddr igmp.record_type igmp.max_resp
dhcp.id dhcp.ip.your dhcp.ip.relay dhcp.hw.mac_addr dhcp.option.type dhcp.option.dhcp dhcp.option.subnet_mask dhcp.option.router
dhcp.option.ip_address_lease_time dhcp.option.hostname dhcp.option.domain_name dhcp.option.domain_name_server dhcp.option.ntp_server dhcp.option.interface_mtu
dhcpv6.msgtype dhcpv6.xid dhcpv6.hopcount dhcpv6.linkaddr dhcpv6.peeraddr dhcpv6.option.type dhcpv6.iaaddr.ip dhcpv6.iaprefix.pref_addr dhcpv6.iaid dhcpv6.iaid.t1
dhcpv6.elapsed_time dhcpv6.dns_server dhcpv6.requested_option_code
dns.id dns.qry.name dns.qry.type dns.resp.name dns.resp.type dns.resp.ttl dns.flags.truncated dns.flags.authoritative dns.a dns.aaaa dns.cname dns.ns
dns.mx.preference dns.mx.mail_exchange dns.ptr.domain_name dns.srv.port dns.srv.target dns.txt dns.soa.mname dns.soa.serial_number dns.caa.tag dns.rr.udp_payload_size
bfd.sta bfd.diag bfd.detect_time_multiplier bfd.my_discriminator bfd.your_discriminator bfd.desired_min_tx_interval bfd.required_min_rx_interval
bfd.auth.type bfd.auth.key bfd.auth.seq_num""".split()
CHECKSUMS = "ip.checksum.status tcp.checksum.status udp.checksum.status icmp.checksum.status icmpv6.checksum.status igmp.checksum.status".split()


def sh(command, ns=None, check=True, wait=20):
    words = (["ip", "netns", "exec", ns] if ns else []) + ["sh", "-c", command]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=wait, text=True)
    if check and done.returncode != 0:
        raise RuntimeError(f"{command}: {done.stdout}")
    return done.stdout


def start(command, ns):
    process = subprocess.Popen(["ip", "netns", "exec", ns, "sh", "-c", "exec " + command], stdout=open(f"{work}/log", "a"), stderr=subprocess.STDOUT)
    running.append(process)
    return process


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
    running.remove(process)


def python(code, ns, check=True, wait=25):
    path = f"{work}/step.py"
    with open(path, "w") as file:
        file.write(textwrap.dedent(code))
    return sh(f"python3 {path}", ns, check, wait)


def write(name, content):
    path = f"{work}/{name}"
    with open(path, "w") as file:
        file.write(textwrap.dedent(content))
    return path


def set_up():
    for ns in (A, B, C):
        sh(f"ip netns add {ns}")
        sh("ip link set lo up; sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0", ns)
    sh(f"ip link add va netns {A} address fa:16:3e:00:00:01 type veth peer name vb netns {B} address fa:16:3e:00:00:02")
    sh(f"ip link add vc netns {B} address fa:16:3e:00:00:03 type veth peer name vd netns {C} address fa:16:3e:00:00:04")
    for ns, device, low in ((A, "va", "1"), (B, "vb", "2")):
        sh(f"ethtool -K {device} tx off rx off gso off gro off tso off >/dev/null; ip addr add 192.0.2.{low}/24 dev {device};"
           f"ip addr add 2001:db8::{low}/64 dev {device} nodad; ip link set {device} up", ns)
    sh("ethtool -K vc tx off rx off >/dev/null; ip addr add 198.51.100.1/24 dev vc; ip addr add 2001:db8:1::1/64 dev vc nodad; ip link set vc mtu 1280 up;"
       "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.send_redirects=1 net.ipv4.conf.vb.send_redirects=1", B)
    sh("ip link set vd up; ip addr add 198.51.100.9/24 dev vd; ip addr add 2001:db8:1::9/64 dev vd nodad", C)
    sh("ip route add default via 192.0.2.2; ip -6 route add default via 2001:db8::2", A)
    time.sleep(1)


sections = []


def section(*wanted):
    """Each wanted frame is a name and tshark's display filter for it; the first that matches is taken."""
    def register(function):
        sections.append((function, wanted))
        return function
    return register


@section(
    ("ping with record route", "icmp.type == 8 && ip.opt.type == 7"),
    ("ping with timestamps, answered", "icmp.type == 0 && ip.opt.type == 68"),
    ("first fragment of a ping", "ip.flags.mf == 1 && ip.frag_offset == 0"),
    ("last fragment of a ping", "ip.frag_offset > 0 && ip.flags.mf == 0"),
    ("icmpv4 fragmentation needed", "icmp.type == 3 && icmp.code == 4"),
    ("icmpv4 redirect", "icmp.type == 5"),
    ("icmpv6 packet too big", "icmpv6.type == 2"),
    ("neighbour discovery redirect", "icmpv6.type == 137"),
    ("first fragment of an ipv6 ping", "ipv6.fraghdr.offset == 0 && ipv6.fraghdr.more == 1"),
    ("last fragment of an ipv6 ping", "ipv6.fraghdr.offset > 0 && ipv6.fraghdr.more == 0"),
    ("udp without checksum", "udp.checksum == 0"),
    ("udp behind hop-by-hop and destination options", "ipv6.hopopts && ipv6.dstopts && udp"),
    ("icmpv6 parameter problem", "icmpv6.type == 4"),
)
def internet():
    sh("ping -c1 -W1 -R 192.0.2.2; ping -c1 -W1 -T tsandaddr 192.0.2.2; ping -c1 -W1 -s 1600 192.0.2.2; ping -c1 -W1 -6 -s 1600 2001:db8::2", A, False)
    sh("ping -c2 -W1 -M do -s 1400 198.51.100.9; ping -6 -c2 -W1 -M do -s 1400 2001:db8:1::9", A, False)
    sh("ip route add 203.0.113.0/24 via 192.0.2.3; ip -6 route add 2001:db8:5::/64 via fe80::f816:3eff:fe00:9 dev vb;"
       "ip neigh add 192.0.2.3 lladdr fa:16:3e:00:00:09 dev vb; ip -6 neigh add fe80::f816:3eff:fe00:9 lladdr fa:16:3e:00:00:09 dev vb", B)
    sh("ping -c2 -W1 203.0.113.9; ping -6 -c2 -W1 2001:db8:5::9", A, False)
    python("""
        import socket
        four = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        four.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK
        four.sendto(b"unchecked", ("192.0.2.2", 9))
        def send(hop, destination):
            six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            if hop: six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_HOPOPTS, hop)
            six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, destination)
            six.sendto(b"behind options", ("2001:db8::2", 9))
        # router alert for RSVP and padding; an experimental option to be skipped and Pad1
        send(bytes([0, 0, 5, 2, 0, 1, 1, 0]), bytes([0, 0, 0x1e, 3, 7, 8, 9, 0]))
        # an option that must not be skipped
        send(b"", bytes([0, 0, 0x80 | 0x1e, 4, 1, 2, 3, 4]))
    """, A)


@section(
    ("tcp syn and ack over ipv6", "tcp.flags == 0x12 && ipv6"),
    ("tcp data over ipv6", "tcp.len > 0 && ipv6"),
    ("tcp fin over ipv4", "tcp.flags.fin == 1 && ip"),
    ("tcp selective acknowledgement", "tcp.options.sack_le"),
)
def tcp():
    path = write("server.py", """
        import socket, threading
        def take(family, address, port):
            listener = socket.create_server((address, port), family=family)
            while True:
                peer, _ = listener.accept()
                threading.Thread(target=lambda: [None for _ in iter(lambda: peer.recv(65536), b"")] and peer.close()).start()
        threading.Thread(target=take, args=(socket.AF_INET6, "2001:db8::2", 8080)).start()
        take(socket.AF_INET, "192.0.2.2", 8080)
    """)
    server = start(f"python3 -u {path}", B)
    time.sleep(1)
    python("""
        import socket, time
        six = socket.create_connection(("2001:db8::2", 8080)); six.send(b"hello, six"); six.close()
        four = socket.create_connection(("192.0.2.2", 8080)); four.send(b"hello, four"); four.close()
        # A segment that arrives while the one before it is missing: the gap is made by a segment too far ahead, sent by hand.
        sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)); sniffer.bind(("va", 0))
        sniffer.settimeout(3)
        late = socket.create_connection(("192.0.2.2", 8080)); late.send(b"first")
        port = late.getsockname()[1]
        def checksum(data):
            data += b"\\0" * (len(data) % 2)
            total = sum(int.from_bytes(data[at:at + 2], "big") for at in range(0, len(data), 2))
            while total >> 16: total = (total & 0xffff) + (total >> 16)
            return 0xffff - total
        while True:
            frame, (_, _, kind, _, _) = sniffer.recvfrom(2000)
            tcp = frame[34:]
            if kind == socket.PACKET_OUTGOING and frame[23] == 6 and int.from_bytes(tcp[:2], "big") == port and frame.endswith(b"first"): break
        sequence = int.from_bytes(tcp[4:8], "big") + 1000
        tcp = bytearray(tcp); tcp[4:8] = (sequence & 0xffffffff).to_bytes(4, "big"); tcp[16:18] = b"\\0\\0"
        tcp[16:18] = checksum(frame[26:34] + bytes([0, 6]) + len(tcp).to_bytes(2, "big") + bytes(tcp)).to_bytes(2, "big")
        sniffer.send(frame[:34] + bytes(tcp))
        time.sleep(0.5)
    """, A)
    stop(server)


@section(
    ("igmpv3 report with sources", "igmp.type == 0x22 && igmp.saddr"),
    ("igmpv2 report", "igmp.type == 0x16"),
    ("igmpv2 leave", "igmp.type == 0x17"),
    ("igmpv1 report", "igmp.type == 0x12"),
    ("mldv2 report with sources", "icmpv6.type == 143 && icmpv6.mldr.mar.source_address"),
    ("mldv1 report", "icmpv6.type == 131"),
    ("mldv1 done", "icmpv6.type == 132"),
)
def listeners():
    join = """
        import socket, struct, time
        from ipaddress import ip_address as ip
        index = socket.if_nametoindex("va")
        four = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        def sixteen(text): return struct.pack("=HHI", socket.AF_INET6, 0, 0) + ip(text).packed + bytes(4) + bytes(100)
        if %d:
            for source in ("198.51.100.7", "198.51.100.8"):
                four.setsockopt(socket.IPPROTO_IP, 39, ip("232.1.2.3").packed + ip("192.0.2.1").packed + ip(source).packed)
                six.setsockopt(socket.IPPROTO_IPV6, 46, struct.pack("=I4x", index) + sixteen("ff35::1234") + sixteen("2001:db8:1::" + source[-1]))
        else:
            four.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, ip("239.1.2.3").packed + ip("192.0.2.1").packed)
            six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, ip("ff05::1234").packed + struct.pack("=I", index))
        time.sleep(1.5)
    """
    python(join % 1, A)
    for igmp, mld in ((2, 1), (1, 1)):
        sh(f"sysctl -qw net.ipv4.conf.va.force_igmp_version={igmp} net.ipv6.conf.va.force_mld_version={mld}", A)
        python(join % 0, A)
        time.sleep(1)
    sh("sysctl -qw net.ipv4.conf.va.force_igmp_version=0 net.ipv6.conf.va.force_mld_version=0", A)


@section(
    ("igmpv2 query", "igmp.type == 0x11 && igmp.version == 2"),
    ("igmpv3 query", "igmp.type == 0x11 && igmp.version == 3"),
    ("mldv1 query", "icmpv6.type == 130 && ipv6.plen == 32"),
    ("mldv2 query", "icmpv6.type == 130 && ipv6.plen == 36"),
)
def querier():
    sh("ip addr flush dev vb; ip link add br0 type bridge mcast_snooping 1; ip link set vb master br0; ip addr add 192.0.2.2/24 dev br0; ip addr add 2001:db8::2/64 dev br0 nodad;"
       "ip link set br0 up", B)
    time.sleep(1)
    for igmp, mld in ((2, 1), (3, 2)):
        sh(f"ip link set br0 type bridge mcast_igmp_version {igmp} mcast_mld_version {mld} mcast_query_use_ifaddr 1 mcast_startup_query_interval 100 mcast_querier 1", B)
        time.sleep(3)
        sh("ip link set br0 type bridge mcast_querier 0", B)
    # Down and up, so that it gets its link-local address again.
    sh("ip link del br0; ip link set vb down; ip link set vb up; ip addr add 192.0.2.2/24 dev vb; ip addr add 2001:db8::2/64 dev vb nodad", B)
    time.sleep(1)


@section(
    ("router advertisement of radvd", "icmpv6.type == 134"),
    ("gratuitous arp request", "arp.opcode == 1 && arp.src.proto_ipv4 == 192.0.2.1 && arp.dst.proto_ipv4 == 192.0.2.1"),
    ("gratuitous arp reply", "arp.opcode == 2 && arp.src.proto_ipv4 == 192.0.2.1 && arp.dst.proto_ipv4 == 192.0.2.1"),
    ("unsolicited neighbour advertisement", "icmpv6.type == 136 && ipv6.dst == ff02::1"),
)
def announcements():
    sh("arping -c1 -U -I va 192.0.2.1; arping -c1 -A -I va 192.0.2.1", A, False)
    sh("sysctl -qw net.ipv6.conf.va.ndisc_notify=1; ip link set va down; ip link set va up; ip -6 addr add 2001:db8::1/64 dev va nodad;"
       "ip link set va down; sysctl -qw net.ipv6.conf.va.keep_addr_on_down=1; ip link set va up", A, False)
    sh("ip -6 addr replace 2001:db8::1/64 dev va nodad; ip link set va address fa:16:3e:00:00:11; ip link set va address fa:16:3e:00:00:01;"
       "ip route replace default via 192.0.2.2; ip -6 route replace default via 2001:db8::2", A, False)
    path = write("radvd.conf", """
        interface vb {
          AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; AdvManagedFlag on; AdvOtherConfigFlag on; AdvHomeAgentFlag on;
          AdvDefaultPreference high; AdvCurHopLimit 64; AdvReachableTime 30000; AdvRetransTimer 1000; AdvLinkMTU 1450; AdvDefaultLifetime 1800;
          prefix 2001:db8::/64 { AdvOnLink on; AdvAutonomous on; AdvValidLifetime 86400; AdvPreferredLifetime 14400; };
          prefix fd00:1:2::/48 { AdvOnLink off; AdvAutonomous off; AdvRouterAddr on; };
          route 2001:db8:77::/48 { AdvRoutePreference low; AdvRouteLifetime 600; };
          route ::/0 { AdvRouteLifetime 300; };
          RDNSS 2001:db8::53 2001:db8::54 { AdvRDNSSLifetime 300; };
          DNSSL example.com corp.example { AdvDNSSLLifetime 300; };
        };
    """)
    daemon = start(f"radvd -n -C {path} -p {work}/radvd.pid -m stderr -u root", B)
    time.sleep(6)
    stop(daemon)


DNSMASQ = "dnsmasq --no-daemon --conf-file=/dev/null --no-resolv --no-hosts --user=root --pid-file= --interface=vb --bind-interfaces"


@section(
    ("dhcp discover with fqdn and user class", "dhcp.option.dhcp == 1"),
    ("dhcp offer of dnsmasq", "dhcp.option.dhcp == 2"),
    ("dhcp request", "dhcp.option.dhcp == 3"),
    ("dhcp ack of dnsmasq with many options", "dhcp.option.dhcp == 5"),
)
def dhcp():
    options = " ".join(f"--dhcp-option-force={item}" for item in (
        "option:ntp-server,192.0.2.9,192.0.2.10", "option:mtu,1450", "option:domain-search,example.com,corp.example.com",
        "121,10.0.0.0/8,192.0.2.1,0.0.0.0/0,192.0.2.2", "249,10.0.0.0/8,192.0.2.1", "option:sip-server,192.0.2.20", "option:tftp-server,tftp.example.com",
        "option:bootfile-name,pxelinux.0", "option:time-offset,-3600", "option:default-ttl,64", "option:netbios-nodetype,8", "option:posix-timezone,CET-1CEST",
        "option:tzdb-timezone,Europe/Berlin", "114,https://portal.example/", "43,06:01:08", "vi-encap:4491,2,hello"))
    server = start(f"{DNSMASQ} --port=0 --dhcp-range=192.0.2.100,192.0.2.150,12h --dhcp-leasefile={work}/leases --dhcp-authoritative --domain=example.com --no-ping {options}", B)
    config = write("dhclient.conf", """
        send host-name "vm1"; send fqdn.fqdn "vm1.example.com."; send fqdn.encoded on; send fqdn.server-update on;
        option space-user code 77 = string; send space-user 06:74:65:6e:61:6e:74; send vendor-class-identifier "test vendor";
        option vivso-ask code 124 = string; send vivso-ask 00:00:11:8b:05:04:61:62:63:64;
        send dhcp-client-identifier ff:00:00:00:01:00:03:00:01:fa:16:3e:00:00:01; request;
        also request subnet-mask, routers, domain-name-servers, domain-name, interface-mtu, ntp-servers, vivso;
    """)
    time.sleep(1)
    sh(f"timeout 12 dhclient -4 -1 -d -cf {config} -lf {work}/client.leases -pf {work}/client.pid -sf /bin/true va", A, False, 20)
    stop(server)


@section(
    ("dhcp discover through a relay", "dhcp.option.type == 82 && dhcp.type == 1"),
    ("dhcp offer to a relay", "dhcp.option.type == 82 && dhcp.type == 2"),
)
def dhcp_relay():
    # The client is in C, the relay in B, the server in A.
    server = start(f"{DNSMASQ.replace('=vb', '=va')} --port=0 --dhcp-range=198.51.100.100,198.51.100.150,255.255.255.0,12h --dhcp-leasefile={work}/leases2 --no-ping", A)
    relay = start("dhcrelay -4 -d -a -i vc -i vb 192.0.2.1", B)
    time.sleep(1)
    sh(f"timeout 12 dhclient -4 -1 -d -cf /dev/null -lf {work}/c2.leases -pf {work}/c2.pid -sf /bin/true vd", C, False, 20)
    stop(relay)
    stop(server)


@section(
    ("dhcpv6 solicit for addresses and a prefix", "dhcpv6.msgtype == 1"),
    ("dhcpv6 advertise of dnsmasq", "dhcpv6.msgtype == 2"),
    ("dhcpv6 request", "dhcpv6.msgtype == 3"),
    ("dhcpv6 reply of dnsmasq with many options", "dhcpv6.msgtype == 7 && dhcpv6.iaaddr.ip"),
    ("dhcpv6 information request", "dhcpv6.msgtype == 11"),
)
def dhcp6():
    options = " ".join(f"--dhcp-option-force={item}" for item in (
        "option6:dns-server,[2001:db8::53],[2001:db8::54]", "option6:domain-search,example.com,corp.example.com", "option6:sntp-server,[2001:db8::7b]",
        "option6:ntp-server,[2001:db8::7c]", "option6:information-refresh-time,3600", "option6:bootfile-url,tftp://[2001:db8::69]/boot.efi",
        "option6:sip-server-domain,sip.example.com"))
    server = start(f"{DNSMASQ} --port=0 --dhcp-range=2001:db8::100,2001:db8::1ff,64,12h --dhcp-leasefile={work}/leases6 --dhcp-authoritative {options}", B)
    config = write("dhclient6.conf", """
        send fqdn.fqdn "vm1.example.com."; send fqdn.server-update on;
        also request dhcp6.name-servers, dhcp6.domain-search, dhcp6.sntp-servers, dhcp6.bootfile-url, dhcp6.sip-servers-names;
    """)
    time.sleep(2)
    sh(f"timeout 10 dhclient -6 -1 -d -N -P -D LLT -cf {config} -lf {work}/six.leases -pf {work}/six.pid -sf /bin/true va", A, False, 20)
    sh(f"timeout 6 dhclient -6 -1 -d -N -D LL -cf {config} -lf {work}/six2.leases -pf {work}/six2.pid -sf /bin/true va", A, False, 20)
    sh(f"timeout 6 dhclient -6 -1 -d -S -D LL -cf {config} -lf {work}/six3.leases -pf {work}/six3.pid -sf /bin/true va", A, False, 20)
    stop(server)


@section(
    ("dhcpv6 solicit through a relay", "dhcpv6.msgtype == 12"),
    ("dhcpv6 advertise to a relay", "dhcpv6.msgtype == 13"),
)
def dhcp6_relay():
    server = start(f"{DNSMASQ.replace('=vb', '=va')} --port=0 --dhcp-range=2001:db8:1::100,2001:db8:1::1ff,64,12h --dhcp-leasefile={work}/leases7", A)
    relay = start("dhcrelay -6 -d -I -l vc -u 2001:db8::1%vb", B)
    time.sleep(2)
    sh(f"timeout 10 dhclient -6 -1 -d -N -T -D LL -cf /dev/null -lf {work}/c6.leases -pf {work}/c6.pid -sf /bin/true vd", C, False, 20)
    stop(relay)
    stop(server)


@section(
    ("dns query with edns", 'dns.flags.response == 0 && dns.qry.name == "www.example.com" && dns.qry.type == 1'),
    ("dns answer a through an alias", 'dns.flags.response == 1 && dns.qry.name == "www.example.com" && dns.qry.type == 1'),
    ("dns answer aaaa", "dns.flags.response == 1 && dns.qry.type == 28"),
    ("dns answer mx", "dns.flags.response == 1 && dns.qry.type == 15"),
    ("dns answer txt", "dns.flags.response == 1 && dns.qry.type == 16 && dns.flags.truncated == 0 && dns.count.answers == 2"),
    ("dns answer srv", "dns.flags.response == 1 && dns.qry.type == 33"),
    ("dns answer ptr", "dns.flags.response == 1 && dns.qry.type == 12"),
    ("dns answer caa", "dns.flags.response == 1 && dns.qry.type == 257"),
    ("dns answer soa", "dns.flags.response == 1 && dns.qry.type == 6"),
    ("dns answer ns", "dns.flags.response == 1 && dns.qry.type == 2"),
    ("dns answer truncated", "dns.flags.response == 1 && dns.flags.truncated == 1"),
    ("dns name error", "dns.flags.response == 1 && dns.flags.rcode == 3"),
)
def dns():
    big = " ".join(f"--txt-record=big.example.com,{chr(97 + at) * 200}" for at in range(10))
    server = start(f"{DNSMASQ} --auth-server=ns1.example.com,vb --auth-zone=example.com,192.0.2.0/24,2001:db8::/64 --auth-soa=2026112401,hostmaster.example.com,1200,120,1209600 --auth-sec-servers=ns2.example.com"
                   " --host-record=ns1.example.com,192.0.2.2 --host-record=host.example.com,192.0.2.80,2001:db8::80 --cname=www.example.com,host.example.com --mx-host=example.com,mail.example.com,10"
                   " --mx-host=example.com,mail2.example.com,20 --txt-record=text.example.com,hello,world --txt-record=text.example.com,second"
                   f" --srv-host=_ldap._tcp.example.com,ldap.example.com,389,1,2 --caa-record=example.com,0,issue,ca.example.net {big}", B)
    time.sleep(1)
    dig = "dig +tries=1 +time=1 @192.0.2.2"
    sh(f"{dig} www.example.com A; {dig} host.example.com AAAA; {dig} example.com MX; {dig} text.example.com TXT; {dig} _ldap._tcp.example.com SRV; {dig} -x 192.0.2.80;"
       f"{dig} example.com CAA; {dig} example.com SOA; {dig} example.com NS; {dig} +ignore +bufsize=512 big.example.com TXT; {dig} +noedns nobody.example.com A", A, False)
    stop(server)


@section(
    ("bfd down with a simple password", "bfd.auth.type == 1 && bfd.sta == 1"),
    ("bfd with meticulous keyed sha1", "bfd.auth.type == 5"),
    ("bfd up without authentication", "bfd.sta == 3 && !bfd.auth.type"),
    ("bfd poll over ipv6", "bfd && ipv6 && bfd.flags.p == 1"),
)
def bfd():
    def configuration(me, peers):
        neighbors = "\n".join(f'neighbor {peer} dev "{device}";' for peer, device in peers)
        return lambda authentication: f"""
            router id 192.0.2.{me}; protocol device {{}}
            protocol bfd {{ interface "v*" {{ min rx interval 200 ms; min tx interval 300 ms; multiplier 4; {authentication} }}; {neighbors} }}
        """
    ways = ("authentication simple; password \"secret\" { id 3; };",
            "authentication meticulous keyed sha1; password \"secret key\" { id 5; };", "")
    left, right = configuration(1, [("192.0.2.2", "va"), ("2001:db8::2", "va")]), configuration(2, [("192.0.2.1", "vb"), ("2001:db8::1", "vb")])
    for at, way in enumerate(ways):
        daemons = [start(f"bird -f -c {write(f'bird{side}{at}.conf', text(way))} -s {work}/bird{side}{at}.ctl", ns) for side, ns, text in (("l", A, left), ("r", B, right))]
        time.sleep(5)
        for daemon in daemons:
            stop(daemon)


@section(
    ("scapy: two vlan tags", "ieee8021ad && vlan && icmp"),
    ("scapy: one vlan tag", "vlan && !ieee8021ad && icmp"),
    ("scapy: authentication header", "ah && icmpv6"),
    ("scapy: source route", "ipv6.routing.type == 0"),
    ("scapy: segment routing", "ipv6.routing.type == 4"),
    ("scapy: icmp timestamp", "icmp.type == 13"),
    ("scapy: icmp address mask", "icmp.type == 18"),
    ("scapy: icmp time exceeded with mpls labels", "icmp.type == 11"),
    ("scapy: ipv4 router alert and source route", "ip.opt.type == 131"),
    ("scapy: tcp with fast open and user timeout", "tcp.flags.syn == 1"),
    ("scapy: dhcpv6 with other duids", "dhcpv6.msgtype == 1"),
    ("scapy: dhcpv6 relayed twice", "dhcpv6.msgtype == 12"),
    ("scapy: dhcpv6 leases with status", "dhcpv6.msgtype == 7"),
)
def by_scapy():
    python("""
        from scapy.all import *
        from scapy.layers.ipsec import AH
        from scapy.contrib.mpls import MPLS
        from scapy.layers.dhcp6 import *
        conf.verb = 0
        def put(packet): sendp(Ether(src="fa:16:3e:00:00:01", dst="fa:16:3e:00:00:02") / packet, iface="va")
        six = IPv6(src="2001:db8::1", dst="2001:db8::2")
        put(six / AH(nh=58, payloadlen=4, spi=0x100, seq=7, icv=bytes(range(12))) / ICMPv6EchoRequest(id=1, seq=2, data=b"signed"))
        put(six / IPv6ExtHdrRouting(addresses=["2001:db8:1::9", "2001:db8:1::a"]) / UDP(sport=1, dport=9) / b"far")
        put(six / IPv6ExtHdrSegmentRouting(addresses=["2001:db8:1::9", "2001:db8::2"], segleft=1, lastentry=1) / UDP(sport=1, dport=9) / b"segments")
        four = IP(src="192.0.2.1", dst="192.0.2.2")
        ping = four / ICMP(id=9, seq=9) / b"tagged"
        put(Dot1AD(vlan=200, prio=5, id=1) / Dot1Q(vlan=100, prio=3) / ping)
        put(Dot1Q(vlan=4095, prio=7) / ping)
        put(four / ICMP(type=13, id=5, seq=6, ts_ori=1000, ts_rx=2000, ts_tx=3000))
        put(four / ICMP(type=18, id=5, seq=7, addr_mask="255.255.255.0"))
        quoted = bytes(IP(src="192.0.2.1", dst="198.51.100.9", ttl=1) / UDP(sport=33434, dport=33435) / bytes(100))
        labels = b"\\x20\\x00\\x00\\x00" + struct.pack(">HBB", 12, 1, 1) + bytes(MPLS(label=16001, cos=0, s=0, ttl=1) / MPLS(label=24, cos=3, s=1, ttl=1))
        structure = labels[:2] + struct.pack(">H", checksum(labels)) + labels[4:]
        put(four / ICMP(type=11, length=32) / (quoted[:128] + structure))
        put(IP(src="192.0.2.1", dst="192.0.2.2", options=[IPOption_Router_Alert(), IPOption_LSRR(routers=["192.0.2.9", "192.0.2.10"]), IPOption_NOP()]) / UDP(sport=1, dport=9) / b"x")
        put(four / TCP(sport=1, dport=9, flags="SEC", seq=9, options=[("MSS", 1460), ("NOP", None), ("WScale", 7), ("UTO", 300), ("TFO", (0x01020304, 0x05060708)), ("EOL", None)]))
        client = IPv6(src="fe80::f816:3eff:fe00:1", dst="ff02::1:2") / UDP(sport=546, dport=547)
        solicit = (DHCP6_Solicit(trid=0xabcdef) / DHCP6OptClientId(duid=DUID_EN(enterprisenum=9, id=b"identity")) / DHCP6OptElapsedTime(elapsedtime=100)
            / DHCP6OptRapidCommit() / DHCP6OptUserClass(userclassdata=[USER_CLASS_DATA(data=b"one"), USER_CLASS_DATA(data=b"three")])
            / DHCP6OptVendorClass(enterprisenum=311, vcdata=[VENDOR_CLASS_DATA(data=b"MSFT 5.0")]) / DHCP6OptVendorSpecificInfo(enterprisenum=4491, vso=[VENDOR_SPECIFIC_OPTION(optcode=1, optdata=b"x")])
            / DHCP6OptOptReq(reqopts=[23, 24, 39, 82]) / DHCP6OptAuth() / DHCP6OptIA_TA(iaid=3) / DHCP6OptReconfAccept() / DHCP6OptUnknown(optcode=65001, data=b"private"))
        put(client / solicit)
        put(six / UDP(sport=547, dport=547) / DHCP6_RelayForward(hopcount=1, linkaddr="2001:db8:1::1", peeraddr="fe80::3") / DHCP6OptIfaceId(ifaceid=b"port 7")
            / DHCP6OptRemoteID(enterprisenum=9, remoteid=b"remote") / DHCP6OptSubscriberID(subscriberid=b"subscriber")
            / DHCP6OptRelayMsg(message=DHCP6_RelayForward(hopcount=0, linkaddr="::", peeraddr="fe80::1") / DHCP6OptRelayMsg(message=solicit)))
        put(IPv6(src="fe80::f816:3eff:fe00:2", dst="fe80::f816:3eff:fe00:1") / UDP(sport=547, dport=546) / DHCP6_Reply(trid=0xabcdef)
            / DHCP6OptServerId(duid=DUID_UUID(uuid="00112233-4455-6677-8899-aabbccddeeff")) / DHCP6OptClientId(duid=DUID_LL(lladdr="fa:16:3e:00:00:01"))
            / DHCP6OptIA_NA(iaid=1, T1=100, T2=200, ianaopts=[DHCP6OptIAAddress(addr="2001:db8::100", preflft=300, validlft=400), DHCP6OptStatusCode(statuscode=0, statusmsg=b"fine")])
            / DHCP6OptIA_PD(iaid=2, T1=100, T2=200, iapdopt=[DHCP6OptIAPrefix(prefix="2001:db8:ff00::", plen=56, preflft=300, validlft=400)])
            / DHCP6OptPref(prefval=255) / DHCP6OptServerUnicast(srvaddr="2001:db8::2") / DHCP6OptStatusCode(statuscode=0, statusmsg=b"all well")
            / DHCP6OptDNSServers(dnsservers=["2001:db8::53"]) / DHCP6OptDNSDomains(dnsdomains=["example.com."]) / DHCP6OptClientFQDN(fqdn="vm1.example.com.", flags=1))
    """, A)


def read_pcap(path):
    with open(path, "rb") as file:
        data = file.read()
    frames, at = [], 24
    while at + 16 <= len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        frames.append(data[at + 16:at + 16 + size])
        at += 16 + size
    return frames


TSHARK = ["tshark", "-n", "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE",
          "-o", "tcp.relative_sequence_numbers:FALSE"]


def tshark(pcap, display, fields, occurrence="a"):
    words = TSHARK + ["-r", pcap, "-Y", display, "-T", "fields", "-E", f"occurrence={occurrence}", "-E", "aggregator=|", "-E", "separator=/t"]
    for field in fields:
        words += ["-e", field]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"tshark {display}: {done.stderr}")
    return [line.split("\t") for line in done.stdout.splitlines()]


def report(pcap, name, display):
    numbers = tshark(pcap, display, ["frame.number"])
    if not numbers:
        return False
    number = numbers[0][0]
    this = f"frame.number == {number}"
    if tshark(pcap, f"{this} && _ws.malformed", ["frame.number"]):
        raise RuntimeError(f"{name}: tshark calls it malformed")
    checks = tshark(pcap, this, CHECKSUMS, "f")[0]
    bad = [field for field, value in zip(CHECKSUMS, checks) if value == "0"]
    if bad:
        raise RuntimeError(f"{name}: {bad}")
    info = tshark(pcap, this, ["_ws.col.Info"])[0][0]
    fields = list(zip(HEADER_FIELDS, tshark(pcap, this, HEADER_FIELDS, "f")[0])) + list(zip(CONTENT_FIELDS, tshark(pcap, this, CONTENT_FIELDS)[0]))
    good = [field.split(".")[0] for field, value in zip(CHECKSUMS, checks) if value == "1"]
    print(f"\n# {info[:170]}")
    print(f"# checksums good: {' '.join(good) or 'none looked at'}")
    for field, value in fields:
        if value != "":
            print(f"#= {field} {value}")
    hexed = read_pcap(pcap)[int(number) - 1].hex()
    print(f"[{name}]\n" + "\n".join(textwrap.wrap(hexed, 96)))
    return True


def main():
    missing = []
    only = sys.argv[1:]
    try:
        set_up()
        print("# Frames captured by capture.py, which says how each came to be; those called scapy were built by that program.\n"
              "# Lines with #= are what tshark reads in the frame, field by field; vectors.test.ts compares them with what this package reads.")
        for function, wanted in sections:
            if only and function.__name__ not in only:
                continue
            pcap = f"{work}/{function.__name__}.pcap"
            tap = start(f"tcpdump -q -U --immediate-mode -s 0 -i vb -w {pcap}", B)
            time.sleep(1)
            function()
            time.sleep(0.7)
            stop(tap)
            missing += [frame for frame, display in wanted if not report(pcap, frame, display)]
    finally:
        for process in list(running):
            stop(process)
        for ns in (A, B, C):
            sh(f"ip netns del {ns}", check=False)
        if os.environ.get("KEEP"):
            print(f"kept {work}", file=sys.stderr)
        else:
            shutil.rmtree(work)
    if missing:
        print("not captured: " + ", ".join(missing), file=sys.stderr)
        sys.exit(1)


main()
