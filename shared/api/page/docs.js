// Shows the OpenAPI document of this server; in a file of its own because of the page's policy.
window.SwaggerUIBundle({ url: "openapi.json", dom_id: "#docs", deepLinking: true });

const dark = matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", paint);
paint();
