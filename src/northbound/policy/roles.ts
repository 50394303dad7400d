// Roles, and those that come with them.

/** Those that access rules know, by themselves or of an app. `advsvc`: a service that sees all networks; `data_plane_integrator`: who watches hosts. */
export const roleNames = ["admin", "manager", "member", "reader", "service", "advsvc", "data_plane_integrator"] as const;
type RoleName = (typeof roleNames)[number];

const IMPLIED: Readonly<Partial<Record<string, readonly RoleName[]>>> = {
  admin: ["manager", "member", "reader"],
  manager: ["member", "reader"],
  member: ["reader"],
};

/** Lower case, with the roles that these imply. */
export function impliedRoles(roles: Iterable<string>): ReadonlySet<string> {
  const all = new Set<string>();
  for (const role of roles) {
    const name = role.trim().toLowerCase();
    if (name === "") continue;
    all.add(name);
    for (const implied of IMPLIED[name] ?? []) all.add(implied);
  }
  return all;
}
