// A DNS server of one's own on every address of the TUN: whoami.test is whoever asks, and nothing else exists.
//
//   sudo node examples/own-resolver/own-resolver.js &       # after `npm ci && npm run build`; root, or a tun0 which belongs to you
//   sudo ip route add 198.18.0.0/15 dev tun0
//   dig @198.18.0.53 whoami.test TXT                        # or any other address in the range; +tcp works as well
//
// A handler takes and gives bytes, so any DNS library fits. One that answers null leaves the query to `dns:`, fake IPs and nameservers.
import { decodeMessage, encodeReply } from '@tun/dns'
import { createTunInbound } from '@tun/inbound'

async function handler(query, { source, destination, transport }) {
  const { name, type } = decodeMessage(query).questions[0]
  if (name.toLowerCase() !== 'whoami.test') return encodeReply(query, { rcode: 'NXDOMAIN' })
  const data = { A: source.address, TXT: `you are ${source.address}, I am ${destination.address}, over ${transport}` }[type]
  return encodeReply(query, { answers: data ? [{ name, type, data }] : [] })
}

const tun = { enable: true, 'device-url': 'dev://tun0', 'dns-listen': '0.0.0.0:53' }
const inbound = await createTunInbound({ tun, dns: { handler } })
inbound.on('error', error => console.error(error.message))
process.once('SIGINT', () => inbound.close())
console.log(`answering DNS on ${inbound.name}`)
