// Owns: programs of this repository as somebody who is not root, wherever it lies and whatever /dev/net/tun's mode is here: in the mount
// namespace that `ip netns exec` made, the repository is found at another place, and the device node is our own. Nothing of the host
// changes.

import { ROOT } from './requirements.js'

/** A user who owns nothing, and one who owns NICs. */
export const STRANGER = 65531
export const OWNER = 65533

const SCRIPT = `
set -e
mkdir -p "$1/dev" "$1/repository"
mount -t tmpfs none "$1/dev"
mknod "$1/dev/tun" c 10 200
chmod 666 "$1/dev/tun"
mount --bind "$1/dev/tun" /dev/net/tun
mount --bind "$2" "$1/repository"
cd "$1/repository"
shift 2
exec "$@"`

/** Runs `command` within the repository, so that paths in it are relative. `directory`: this test's own, which others may enter. */
export function anywhere(directory: string, command: readonly string[]): string[] {
  return ['sh', '-c', SCRIPT, 'sh', directory, ROOT, ...command]
}

/** The same as another user, without any capability but those that the program's file has. */
export function asUser(uid: number, directory: string, command: readonly string[]): string[] {
  const user = ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--inh-caps=-all', '--']
  return anywhere(directory, [...user, ...command])
}
