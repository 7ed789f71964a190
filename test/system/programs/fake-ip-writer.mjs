// Owns: a process to be killed: hands out fake IPs that are kept in the file argv[2], as fast as it can, so that the file is written anew
// again and again. Prints `NAME ADDRESS` for one in use, a second after it was handed out: from then on a kill must not cost it.

import { FakeIpPool, openFakeIpFile } from '../../../packages/dns/dist/index.js'

const warn = (/** @type {string} */ message) => {
  process.stdout.write(`warning ${message}\n`)
}
const pool = new FakeIpPool({ range4: '10.0.0.1/22', store: openFakeIpFile(process.argv[2], { onWarning: warn }), onWarning: warn })
const round = process.argv[3]
let count = 0

function step() {
  for (let i = 0; i < 200; i++) pool.lookup(`churn-${round}-${count++}`, 4)
  const name = `kept-${round}-${count}`
  if (pool.stats(4).pinned < 400) {
    const address = pool.lookup(name, 4)
    pool.pin(address ?? '')
    setTimeout(() => process.stdout.write(`${name} ${address}\n`), 1000)
  }
  setTimeout(step, 5)
}
step()
