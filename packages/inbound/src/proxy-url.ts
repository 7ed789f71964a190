// Owns: what the URLs of proxies have in common. RFC 3986 §2.1 (percent-encoding), §3.2.1 (userinfo).

/** A URL's user name or password. A `%` that begins no escape stands for itself: passwords are pasted, not encoded. */
export function unescapePercent(text: string): string {
  return text.replace(/(?:%[0-9a-f]{2})+/gi, escapes => {
    try {
      return decodeURIComponent(escapes)
    } catch {
      return escapes // not UTF-8
    }
  })
}
