// Owns: what is wrong with a text that is no YAML, in our words: the `yaml` package's own quote the text, which may hold a password.

export const SYNTAX: Record<string, string> = {
  BAD_ALIAS: 'an alias (*name) without its anchor (&name)',
  BAD_COLLECTION_TYPE: 'a tag that does not fit its value',
  BAD_DIRECTIVE: 'an unknown % directive',
  BAD_DQ_ESCAPE: 'an unknown escape in a double-quoted text',
  BAD_INDENT: 'the indentation does not fit what stands above',
  BAD_SCALAR_START: 'a text cannot begin with this character',
  BLOCK_AS_IMPLICIT_KEY: 'a key and its value in a place for a plain value',
  BLOCK_IN_FLOW: 'an indented block inside brackets',
  KEY_OVER_1024_CHARS: 'a key of more than 1024 characters',
  MISSING_CHAR: 'something is missing here: a colon, comma, space, quote or bracket',
  MULTILINE_IMPLICIT_KEY: "a line without ':' where keys are expected",
  MULTIPLE_ANCHORS: 'two anchors for one value',
  MULTIPLE_DOCS: "the file has several documents ('---')",
  MULTIPLE_TAGS: 'two tags for one value',
  TAB_AS_INDENT: 'tabs cannot indent in YAML',
  TAG_RESOLVE_FAILED: 'an unknown tag, or a value that does not fit it',
  UNEXPECTED_TOKEN: 'this does not belong here',
}

export const HINTS: Record<string, string> = {
  BAD_DQ_ESCAPE: 'use single quotes',
  BAD_SCALAR_START: 'put it in quotes',
  MULTIPLE_DOCS: 'keep one of them',
  TAB_AS_INDENT: 'use spaces',
}
