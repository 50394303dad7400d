// Access rules: a book of named rules in oslo.policy's own syntax. Defaults come from the apps, overrides from a file.
export { formatPolicy, PolicyBook, shownPolicy, type Rule, type RuleEntry, type Subject, type SubjectRules } from "./book.ts";
export { PolicyFile } from "./file.ts";
export { impliedRoles } from "./roles.ts";
