// Owns: the name of a place in a config: `tun.device-url`, `proxies[0].port`.

import { isSecretKey, MASK } from './secrets.js'

export type Path = readonly (string | number)[]

/** What stands under a key that holds a secret is left out, also if it is keys again. */
export function formatPath(path: Path): string {
  const secret = path.findIndex(isSecretKey)
  return path.reduce<string>((text, key, i) => {
    if (typeof key === 'number') return `${text}[${key}]`
    const shown = secret >= 0 && i > secret ? MASK : key
    return text === '' ? shown : `${text}.${shown}`
  }, '')
}
