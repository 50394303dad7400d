// The map as sigma draws it. All that the rest of the console knows of sigma and graphology is this: what there is to draw, and what was pointed at.
import Graph from "graphology";
import Sigma, { DEFAULT_STYLES } from "sigma";

export interface Dot {
  readonly id: string;
  readonly label: string;
  readonly x: number;
  readonly y: number;
  readonly r: number;
  readonly color: string;
}
export interface Line {
  readonly from: string;
  readonly to: string;
  readonly color: string;
  /** In pixels. */
  readonly width: number;
}

/** Whether this browser may: without WebGL 2 there is the table. A context to try it would take a second where the processor draws; the picture says if it gets none. */
export const canDraw = (): boolean => typeof WebGL2RenderingContext === "function";

export class Picture {
  private readonly graph = new Graph({ multi: true });
  private readonly sigma: Sigma;

  constructor(container: HTMLElement, text: string, chosen: (id: string) => void) {
    this.sigma = new Sigma(this.graph, container, {
      settings: { itemSizesReference: "positions", autoRescale: true, stagePadding: 20, labelRenderedSizeThreshold: 7, labelDensity: 2, minEdgeThickness: 1, zoomToSizeRatioFunction: (ratio) => ratio, enableCameraRotation: false, minCameraRatio: 0.002, maxCameraRatio: 3 },
      styles: { ...DEFAULT_STYLES, nodes: { ...DEFAULT_STYLES.nodes, labelColor: text, labelSize: 12 } },
    });
    this.sigma.on("clickNode", ({ node }) => chosen(node));
  }

  /** Draws these, the first ones lowest. */
  show(dots: readonly Dot[], lines: readonly Line[]): void {
    this.graph.clear();
    for (const { id, label, x, y, r, color } of dots) this.graph.addNode(id, { label, x, y, size: r, color });
    for (const { from, to, color, width } of lines) if (this.graph.hasNode(from) && this.graph.hasNode(to)) this.graph.addEdge(from, to, { color, size: width });
    if (dots.length > 0) {
      const extent = (at: (dot: Dot) => number): [number, number] => [Math.min(...dots.map((dot) => at(dot) - dot.r)), Math.max(...dots.map((dot) => at(dot) + dot.r))];
      this.sigma.setCustomBBox({ x: extent(({ x }) => x), y: extent(({ y }) => y) });
    }
    this.sigma.refresh();
  }

  closer(factor: number): void {
    const camera = this.sigma.getCamera();
    void camera.animate({ ratio: camera.getState().ratio * factor }, { duration: 150 });
  }
  /** By parts of what is seen. */
  move(right: number, down: number): void {
    const camera = this.sigma.getCamera();
    const { x, y, ratio } = camera.getState();
    camera.setState({ x: x + right * ratio, y: y - down * ratio });
  }
  whole(): void {
    void this.sigma.getCamera().animate({ x: 0.5, y: 0.5, ratio: 1, angle: 0 }, { duration: 150 });
  }
  close(): void {
    this.sigma.kill();
  }
}
