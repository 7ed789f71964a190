/** What tcp-server.mjs does on which port; nobody listens on `closed`. @type {Record<string, number>} */
export const PORTS = { upload: 7001, download: 7002, reset: 7003, fate: 7004, echo: 7005, closed: 7009 }
