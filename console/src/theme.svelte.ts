// Light or dark: as the system has it, or as the button says. Whoever draws by itself asks here, and is told when it changes.
const THEMES = ["", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const stored = localStorage.getItem("axion-theme");
const system = matchMedia("(prefers-color-scheme: dark)");
let chosen = $state<Theme>(THEMES.find((one) => one === stored) ?? "");
let systemDark = $state(system.matches);
system.addEventListener("change", () => (systemDark = system.matches));

export const theme = {
  /** "": as the system has it. */
  get chosen(): Theme {
    return chosen;
  },
  get dark(): boolean {
    return chosen === "dark" || (chosen === "" && systemDark);
  },
  turn(): void {
    chosen = THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length]!;
    localStorage.setItem("axion-theme", chosen);
  },
};
