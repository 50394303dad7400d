// How functions that an app exports emit into its own tables when others call them. No part of what apps import ("#app"): they have
// `Pipeline.through`.
export const THROUGH = Symbol("through");
