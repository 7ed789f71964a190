/** Resolves when `condition` holds; how long that may take is the test's time-out. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 1))
}
