/** What tcp-server.mjs and udp-server.mjs do on which port; nobody listens on `closed` and `udpClosed`. @type {Record<string, number>} */
export const PORTS = {
  ...{ upload: 7001, download: 7002, reset: 7003, fate: 7004, echo: 7005, closed: 7009 },
  ...{ udpEcho: 7101, udpElsewhere: 7102, udpOther: 7103, udpReversed: 7104, udpClosed: 7109, udpPeers: 7200 },
}
