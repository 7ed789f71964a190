import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { dial, hasTcpHandles } from '@tun/device'
import { describe, expect, test } from 'vitest'
import { type Talker, talk } from './handshake-talk.js'

class Waiting implements Talker {
  wanted = 2
  losses: (string | undefined)[] = []
  take(): void {}
  lost(error: NodeJS.ErrnoException | undefined): void {
    this.losses.push(error?.code)
  }
}

describe.runIf(hasTcpHandles())('a connection that is over before the handshake begins', () => {
  test.each([
    ['ended, and the stream has read so', false],
    ['destroyed, and everybody was told', true],
  ])('%s: it is lost at the first word, not when the time is over', async (_what, destroyed) => {
    const server = createServer({ allowHalfOpen: true }, socket => void socket.on('error', () => {}).end())
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const socket = dial({ address: '127.0.0.1', port: (server.address() as AddressInfo).port, family: 4 })
    await once(socket, 'connect')
    if (!destroyed) await once(socket.resume(), 'end')
    if (destroyed) await once(socket.destroy(), 'close')
    const talker = new Waiting()
    const talking = talk(socket, talker)
    talking.write(Buffer.from('hello'))
    expect(talker.losses).toEqual([undefined])
    talking.letGo()
    socket.destroy()
    server.close()
  })
})
