// An application of bench/tun.mjs that asks whether what comes back is what was sent, by its SHA-256: 64 MiB of random bytes to a far end
// that echoes, and 8 MiB after which this side ends its own half first. One line of JSON.
//
//   node whole.mjs ADDRESS PORT

import { createHash, randomBytes } from 'node:crypto'
import { connect } from 'node:net'

const PIECE = 1 << 20
const [address, port] = process.argv.slice(2)

/** @returns {Promise<{ back: number, same: boolean, ended: boolean }>} */
function echo(/** @type {number} */ pieces, /** @type {boolean} */ endFirst) {
  const total = pieces * PIECE
  const sent = createHash('sha256')
  const got = createHash('sha256')
  let back = 0
  let left = pieces
  return new Promise(resolve => {
    const done = (/** @type {boolean} */ ended) => {
      clearTimeout(timer)
      socket.destroy()
      resolve({ back: back / total, same: back === total && left === 0 && got.digest('hex') === sent.digest('hex'), ended })
    }
    const timer = setTimeout(() => done(false), 20_000)
    const socket = connect({ host: address, port: Number(port), allowHalfOpen: true })
    const fill = () => {
      let room = true
      while (room && left > 0) {
        const piece = randomBytes(PIECE)
        sent.update(piece)
        left--
        room = socket.write(piece)
      }
      if (left === 0 && endFirst) socket.end()
    }
    socket
      .on('connect', fill)
      .on('drain', fill)
      .on('data', data => {
        got.update(data)
        back += data.length
        if (back === total && !endFirst) socket.end()
      })
      .on('end', () => done(back === total))
      .on('error', () => done(false))
  })
}

process.stdout.write(JSON.stringify({ whole: await echo(64, false), half: await echo(8, true) }))
