/** The page's style: one quiet column, colours by meaning, light and dark. */
import { darkInk, FONT, type Ink, ink, inks } from './palette.ts';

const variables = (colours: Record<Ink, string>): string => inks.map((name) => `--${name}:${colours[name]}`).join(';');

const MONO = 'ui-monospace, SFMono-Regular, Menlo, Consolas, "Noto Sans Mono", "Noto Sans Mono CJK SC", monospace';

export const stylesheet = `
:root{color-scheme:light dark;${variables(ink)}}
@media (prefers-color-scheme:dark){:root{${variables(darkInk)}}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--paper);color:var(--text);font:16px/1.6 ${FONT};overflow-wrap:break-word}
main{max-width:50rem;margin:0 auto;padding:3rem 1.25rem 5rem}
h1{font-size:clamp(1.6rem,1.2rem + 2vw,2.3rem);line-height:1.2;letter-spacing:-.02em;margin:0 0 .4rem;text-wrap:balance}
h2{font-size:1.4rem;line-height:1.3;letter-spacing:-.01em;margin:3.5rem 0 1rem;padding-top:1.5rem;border-top:1px solid var(--rule)}
h3{font-size:1.05rem;margin:2.25rem 0 .75rem}
h4{font-size:.95rem;margin:0 0 .75rem}
h5{font-size:.9rem;margin:0 0 .5rem;display:flex;gap:.6rem;align-items:center;flex-wrap:wrap}
p,ul,ol{margin:0 0 1rem}
ul{padding-left:1.2rem}
li{margin-bottom:.45rem}
a{color:var(--tuned);text-underline-offset:.15em}
code{font:.875em ${MONO};background:var(--panel);border-radius:4px;padding:.1em .3em;overflow-wrap:anywhere}
.quiet{color:var(--quiet);font-size:.9rem}
header{margin-bottom:1.75rem}
nav ol{list-style:none;padding:0;margin:1.75rem 0 0;display:flex;flex-wrap:wrap;gap:.35rem 1.1rem;font-size:.9rem}
nav li{margin:0}
nav a{text-decoration:none}
nav a:hover{text-decoration:underline}
.summary{--tone:var(--quiet);background:var(--panel);border-left:4px solid var(--tone);border-radius:8px;padding:1.1rem 1.4rem 1.2rem;margin-bottom:1rem}
.summary p{margin:0}
.summary p+p{margin-top:.4rem}
.summary .label{color:var(--tone);font-weight:650;font-size:.85rem;letter-spacing:.02em}
.summary .headline{font-size:1.2rem;line-height:1.4;font-weight:600;text-wrap:pretty}
.good{--tone:var(--good)}.bad{--tone:var(--bad)}.neutral{--tone:var(--quiet)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.6rem,1fr));gap:1px;margin:0;background:var(--rule);border:1px solid var(--rule);border-radius:8px;overflow:hidden}
.tiles div{background:var(--paper);padding:.8rem .9rem}
.tiles dt{font-size:.8rem;color:var(--quiet)}
.tiles dd{margin:0}
.tiles .value{font-size:1.35rem;font-weight:600;letter-spacing:-.01em;font-variant-numeric:tabular-nums}
.tiles .note{font-size:.75rem;color:var(--quiet);font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto;margin:0 0 1.25rem}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;vertical-align:top;padding:.45rem .9rem .45rem 0;border-bottom:1px solid var(--rule)}
th{font-weight:500;color:var(--quiet);font-size:.8rem;white-space:nowrap}
tbody tr:last-child td{border-bottom:0}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
th:last-child,td:last-child{padding-right:0}
figure{margin:1.5rem 0}
figure svg{display:block;max-width:100%;height:auto}
figcaption{color:var(--quiet);font-size:.85rem;margin-top:.5rem}
.narrow{display:none}
.case{border:1px solid var(--rule);border-radius:8px;padding:1rem 1.1rem;margin:0 0 1.1rem}
.case pre,.listing{font:.8rem/1.55 ${MONO};white-space:pre-wrap;overflow-wrap:anywhere;margin:0;background:var(--panel);border-radius:6px;padding:.7rem .8rem;max-height:22rem;overflow:auto;unicode-bidi:isolate}
.quoted{display:grid;grid-template-columns:5.5rem 1fr;gap:.3rem .8rem;margin-bottom:.5rem;font-size:.95rem}
.quoted span{font-size:.8rem;color:var(--quiet);padding-top:.15rem}
.quoted p{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;max-height:16rem;overflow:auto;unicode-bidi:isolate;min-width:0}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,17rem),1fr));gap:1rem;margin-top:1rem}
.pair section{min-width:0}
.badge{color:var(--tone);border:1px solid var(--tone);border-radius:99px;font-size:.72rem;font-weight:600;padding:.02rem .5rem}
.found{margin:.4rem 0 0;font-size:.8rem}
.checklist{list-style:none;padding:0}
.checklist li{display:flex;gap:.75rem;margin-bottom:.8rem}
.box{flex:none;width:1.25rem;height:1.25rem;margin-top:.2rem;border:1.5px solid var(--quiet);border-radius:4px;display:grid;place-items:center;font-size:.8rem;line-height:1;color:var(--paper)}
.done .box{background:var(--good);border-color:var(--good)}
details{border:1px solid var(--rule);border-radius:8px;padding:.6rem 1rem;margin-bottom:.8rem}
summary{cursor:pointer;font-weight:500}
details[open] summary{margin-bottom:.8rem}
:focus-visible{outline:2px solid var(--tuned);outline-offset:2px}
@media (max-width:42rem){
main{padding-top:1.75rem}
h2{margin-top:2.5rem}
.wide{display:none}.narrow{display:block}
.summary{padding:.9rem 1rem 1rem}
.summary .headline{font-size:1.08rem}
.tiles{grid-template-columns:1fr 1fr}
.tiles div:last-child:nth-child(odd){grid-column:1/-1}
.quoted{grid-template-columns:1fr;gap:0}
.case{padding:.85rem .8rem}
}
@media print{
:root{${variables(ink)}}
main{max-width:none;padding:0}
nav{display:none}
.case,figure,.summary{break-inside:avoid}
.case pre{max-height:none}
}
`;
