// The same packets, played to the Linux kernel's TCP and to ours. Where the two differ, differences/ says how and why; one that is not
// listed fails, and so does a listed one that is gone. TUN_DIFFERENTIAL=FILE writes every play to FILE.

import { appendFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeSystem } from '../requirements.js'
import { type Difference, differencesOf, type Listed, transcript } from './compare.js'
import { CHOICES } from './differences/choices.js'
import { LINUX } from './differences/linux.js'
import { OPEN } from './differences/open.js'
import { Player, type Situation, type Step } from './player.js'
import { ACTIVE_OPEN } from './situations/active-open.js'
import { ATTACKS } from './situations/attacks.js'
import { CLOSING } from './situations/closing.js'
import { HANDSHAKE } from './situations/handshake.js'
import { LOSS } from './situations/loss.js'
import { RECEIVING } from './situations/receiving.js'
import { REFUSING } from './situations/refusing.js'
import { SENDING } from './situations/sending.js'
import { TIME_WAIT } from './situations/time-wait.js'
import { TIMESTAMPS } from './situations/timestamps.js'
import { KernelLab } from './subject-kernel.js'
import { OurSubject } from './subject-ours.js'

const THEMES: Record<string, Situation[]> = {
  'passive open': HANDSHAKE,
  'active open': ACTIVE_OPEN,
  refusing: REFUSING,
  receiving: RECEIVING,
  sending: SENDING,
  loss: LOSS,
  attacks: ATTACKS,
  timestamps: TIMESTAMPS,
  closing: CLOSING,
  'time-wait': TIME_WAIT,
}
const LISTED: Listed[] = [...LINUX, ...CHOICES, ...OPEN]
/** Plays until one is as listed, or has gone otherwise so many times without the machine standing still in the middle of it. */
const SURE = 3
const TRIES = 8

/** What is listed for a situation, and its reason. */
function listed(name: string): { reason: string; differences: Difference[] } {
  for (const { reason, situations } of LISTED) {
    if (situations[name] !== undefined) return { reason, differences: situations[name] }
  }
  return { reason: '', differences: [] }
}

describeSystem('the kernel’s TCP and ours', { lab: true, peers: ['python3'] }, () => {
  let lab: KernelLab
  beforeAll(async () => {
    lab = await KernelLab.open()
  })
  afterAll(() => lab?.close())

  async function both(situation: Situation): Promise<{ kernel: Step[]; ours: Step[]; disturbed: boolean }> {
    const subject = await lab.subject(situation.options ?? {})
    const kernel = new Player(subject)
    await situation.play(kernel)
    await subject.close()
    const own = new OurSubject(subject.ends, situation.options)
    const ours = new Player(own)
    await situation.play(ours)
    await own.close()
    return { kernel: kernel.steps, ours: ours.steps, disturbed: subject.disturbed }
  }

  for (const [theme, situations] of Object.entries(THEMES)) {
    describe.concurrent(theme, () => {
      for (const situation of situations) {
        it(`${situation.name} (${situation.rule})`, async ({ expect }) => {
          const { reason, differences } = listed(situation.name)
          let play = await both(situation)
          let found = differencesOf(play.kernel, play.ours)
          for (let i = 1, sure = 0; i < TRIES && !isDeepStrictEqual(found, differences); i++) {
            if (!play.disturbed && ++sure === SURE) break
            play = await both(situation)
            found = differencesOf(play.kernel, play.ours)
          }
          const whole = `${situation.name}${play.disturbed ? ' (disturbed)' : ''}\n${transcript(play.kernel, play.ours)}\n`
          if (process.env.TUN_DIFFERENTIAL)
            appendFileSync(process.env.TUN_DIFFERENTIAL, `${JSON.stringify([situation.name, found])}\n${whole}`)
          expect(found, `${whole}listed because: ${reason || 'not listed'}`).toEqual(differences)
        })
      }
    })
  }

  it('a situation has a name of its own, and whatever is listed is one', () => {
    const names = Object.values(THEMES).flatMap(situations => situations.map(s => s.name))
    expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([])
    const all = LISTED.flatMap(({ situations }) => Object.keys(situations))
    expect(all.filter((name, i) => !names.includes(name) || all.indexOf(name) !== i)).toEqual([])
    expect(names.length).toBeGreaterThanOrEqual(40)
  })
})
