// Which controllers there are.
import { queryOf, type OpsServer } from "../server.ts";

/** Adds `GET /cluster`; `shown`: src/cluster/cluster.ts, of a controller that is alone without members. */
export function clusterRoutes(server: OpsServer, shown: () => { readonly name: string; readonly members: readonly unknown[] }): void {
  server.get("/cluster", (request) => {
    queryOf(request.url, []);
    return shown();
  });
}
