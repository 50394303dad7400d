// No authentication: an administrator, unless the headers say which project and roles. For listeners that only the trusted reach.
import { badRequest } from "../../app/contract.ts";
import { rolesOf, type Authenticator } from "./authenticator.ts";

const ADMIN = rolesOf("admin");
const MEMBER = rolesOf("member");

export const noAuth: Authenticator = {
  authenticate({ requestId, header }) {
    const project = header("x-project-id") ?? header("x-tenant-id");
    const roleText = header("x-roles");
    const roles = roleText !== undefined ? rolesOf(roleText) : project === undefined ? ADMIN : MEMBER;
    if (project !== undefined && project.length > 255) throw badRequest("X-Project-Id is longer than 255 characters");
    return { requestId, projectId: project ?? "", userId: header("x-user-id") ?? "", roles, admin: roles.has("admin") };
  },
};
