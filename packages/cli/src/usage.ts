// Owns: what `--help` says. Each text ends with commands to copy: they teach more than the list of options.

export const USAGE = `Usage: tun exec [options] [--] COMMAND [ARGUMENT…]

  exec        runs a command whose whole network – TCP, UDP, DNS, IPv4 and IPv6 – goes through this program

  tun exec --help      its options, with examples
  tun --version

Example:
  tun exec --proxy socks5://127.0.0.1:1080 -- curl https://example.org`

export const EXEC_USAGE = `Usage: tun exec [options] [--] COMMAND [ARGUMENT…]

Runs COMMAND in a network of its own whose only way out is a TUN that this program serves: nothing gets past it, whether
the command knows of proxies or not, whether it is a script, a static binary or a tree of processes. Root is not needed.

  --proxy URL     socks5://[user:password@]host[:port], http://… or https://… (CONNECT: TCP only), or direct. Without it: direct,
                  from this machine. Names go to the proxy as names: nothing is looked up here.
  --config FILE   a Clash file: its dns: section, and the way that its only rule, MATCH, names (else its first socks5 proxy).
                  --proxy comes before it.
  --pcap FILE     writes every packet to FILE, for wireshark or tcpdump -r
  -v, --verbose   a line on stderr for each connection and UDP flow
  -h, --help      this

Standard input and output, directory, environment, user and signals are the command's as if it ran without tun. The exit code is the
command's, 128 + n if signal n ended it, 127 if there is no such command, 126 if it cannot be run, 125 if tun itself failed.

Examples:
  tun exec --proxy socks5://127.0.0.1:1080 -- curl https://example.org
  tun exec --proxy socks5://127.0.0.1:1080 -- git clone https://example.org/project.git
  tun exec --proxy socks5://127.0.0.1:1080 bash          everything you start in this shell
  tun exec --pcap out.pcap -- ./program                  watch what a program sends, without root
  tun exec -v -- npm install                             see whom it talks to

The command's 127.0.0.1 is its own: servers on this machine's loopback are out of its reach (a proxy there is not: tun talks to it).
What the command leaves running in the background loses its network when the command ends.`
