// Service providers, as the API lists them.
import { defineResource, resourceHandle, type App } from "#app";
import { serviceProviders, type ServiceProvider } from "./model.ts";

const serviceProvider = defineResource(resourceHandle<ServiceProvider>("service_provider"), {
  collection: "service_providers",
  about: "Who provides a service.",
  alias: "service-type",
  standard: [],
  computed: { list: () => serviceProviders, get: () => undefined },
  notFound: { type: "HTTPNotFound", message: (id) => `Service provider ${id} could not be found.` },
  attributes: {
    service_type: { type: "string", about: "L3_ROUTER_NAT: routers with gateways, translated sources and floating IPs.", filter: true },
    name: { type: "string", about: "The provider.", filter: true },
    default: { type: "boolean", about: "Whether it is used where nobody chooses.", filter: true },
  },
  policy: { get: "role:reader" },
});

export default {
  name: "service-providers",
  about: "the providers of services: one of routers that translate",
  requires: ["nat"],
  partOf: "nat",
  resources: [serviceProvider],
  aliases: [{ alias: "service-type", name: "Neutron Service Type Management", description: "Which services are provided, and by whom.", updated: "2013-01-20T00:00:00-00:00" }],
} satisfies App;
