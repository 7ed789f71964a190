// Owns: what `--help` says. Each text ends with commands to copy: they teach more than the list of options.

import type { Verb } from './args.js'

export const USAGE = `Usage: tun exec   [options] [--] COMMAND [ARGUMENT…]
       tun dump   [options] [--] COMMAND [ARGUMENT…]
       tun dump   [options] --device NAME
       tun doctor [options]

  exec      runs a command whose whole network – TCP, UDP, DNS, IPv4 and IPv6 – goes through this program
  dump      shows packets: those of a command, or those of a TUN that some other program serves
  doctor    looks at what TUN devices need on this machine, and names the command that mends what is missing

  tun exec --help      the options of each, with examples
  tun --version

Examples:
  tun exec --proxy socks5://127.0.0.1:1080 -- curl https://example.org     curl knows of no proxy
  tun dump -- curl http://example.org                                      its packets, a line each, without root
  tun doctor                                                               if one of them says that it cannot`

const EXEC_USAGE = `Usage: tun exec [options] [--] COMMAND [ARGUMENT…]

Runs COMMAND in a network of its own whose only way out is a TUN that this program serves: nothing gets past it, whether
the command knows of proxies or not, whether it is a script, a static binary or a tree of processes. Root is not needed.

  --proxy URL     socks5://[user:password@]host[:port], http://… or https://… (CONNECT: TCP only), or direct. Without it: direct,
                  from this machine. Names go to the proxy as names: nothing is looked up here.
  --config FILE   a Clash file: its dns: section, and the way that its only rule, MATCH, names (else its first socks5 proxy).
                  --proxy comes before it.
  --pcap FILE     writes every packet to FILE, for wireshark or tcpdump -r (tun dump -w also writes names, and takes a filter)
  -v, --verbose   a line on stderr for each connection and UDP flow
  -h, --help      this

Pings reach the real host if all goes direct and this user may send pings (tun doctor: ping-group-range). Else, and behind a proxy, which
carries none, they are refused at once (ping says: Packet filtered). icmp: in FILE – forward, reject, fake, drop – decides otherwise.

Standard input and output, directory, environment, user and signals are the command's as if it ran without tun. The exit code is the
command's, 128 + n if signal n ended it, 127 if there is no such command, 126 if it cannot be run, 125 if tun itself failed.

Examples:
  tun exec --proxy socks5://127.0.0.1:1080 -- curl https://example.org
  tun exec --proxy socks5://127.0.0.1:1080 -- git clone https://example.org/project.git
  tun exec --proxy socks5://127.0.0.1:1080 bash          everything you start in this shell
  tun exec --pcap out.pcap -- ./program                  watch what a program sends, without root
  tun exec -v -- npm install                             see whom it talks to

The command's 127.0.0.1 is its own: servers on this machine's loopback are out of its reach (a proxy there is not: tun talks to it).
What the command leaves running in the background loses its network when the command ends. If tun exec says that something is not
permitted, tun doctor says what else is in the way.`

const DUMP_USAGE = `Usage: tun dump [options] [--] COMMAND [ARGUMENT…]
       tun dump [options] --device NAME

Shows packets, a line each, as tcpdump does, with the names that DNS answers gave to their addresses. With COMMAND: all packets of the
command, which runs as by tun exec and needs no root; the lines go to stderr. With --device: those of a NIC of this machine,
whoever serves it; that needs root (CAP_NET_RAW), the lines go to stdout, and Ctrl-C ends it.

  -i, --device NAME   the NIC, e.g. tun0
  -w, --write FILE    writes packets and names to FILE as pcapng, for wireshark and tshark, instead of lines. With -w - it goes to
                      stdout, and a command's stdout to stderr.
  --print             lines as well
  -f, --filter EXPR   only what matches: tcp udp icmp ip ip6 · host ADDRESS · net PREFIX · port N · port N-M · name NAME
                      (and what ends in .NAME), src or dst before host, net, port and name; and (may be left out), or, not, ( )
  -c, --count N       ends after N packets; a command runs on to its end, unseen
  --proxy URL, --config FILE       the command's way out, as of tun exec
  -h, --help          this

The traffic does not wait for whoever reads this: what cannot be written in time is left out, and counted at the end. Segments look as
they cross the TUN: up to 64 KiB long, and those from the kernel with checksums that are not finished. Of a packet in fragments only
the first has ports. The exit code is the command's, as of tun exec; with --device 0, or 125 if tun failed.

Examples:
  tun dump -- curl http://example.org                          what does curl send?
  tun dump -f 'udp port 53' -- ./program                       which names does it look up?
  tun dump -f 'name example.org and tcp' -- npm install        one site's connections
  tun dump -w out.pcapng -- ./program                          then: wireshark out.pcapng
  tun dump -w - -- curl -s http://example.org | wireshark -k -i -
  sudo tun dump -i tun0 -f 'host 198.18.0.5 port 443'          one flow's packets in a proxy that runs
  sudo tun dump -i tun0 -w out.pcapng -c 1000`

const DOCTOR_USAGE = `Usage: tun doctor [options]

Looks at what TUN devices need on this machine – the device node, rights, namespaces, what the kernel takes off us, how the network is
set up, what a killed run may have left – and names for each thing the command that mends it. It changes nothing: a TUN is tried in
namespaces that end with the trial. Run it as the user, and where, your program will run; sudo may give other answers.

  --json          one object, for programs: docs/operating.md describes it
  --config FILE   a Clash file: also its NIC (is it there, is it busy, whose is it?) and the port of dns.listen
  -h, --help      this

  ok       as it should be
  warn     it works, but not all of it or not for everybody: read what it says, you may not need it
  fail     what tun is for does not work
  unknown  could not be found out

The exit code is 0, or 1 if something failed, or 125 if the command line is wrong.

Examples:
  tun doctor
  sudo tun doctor --config /etc/clash/config.yaml
  tun doctor --json | jq -r '.checks[] | select(.status == "fail") | .fix'`

export const VERB_USAGE: Readonly<Record<Verb, string>> = { exec: EXEC_USAGE, dump: DUMP_USAGE, doctor: DOCTOR_USAGE }
