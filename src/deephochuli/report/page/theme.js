(() => {
  let theme = null;
  try {
    theme = localStorage.getItem("deephochuli-theme");
  } catch {
    theme = null;
  }
  const system = matchMedia("(prefers-color-scheme: dark)");
  document.documentElement.dataset.theme = theme || (system.matches ? "dark" : "light");
})();
