// Before anything is drawn, so that no page flashes in the wrong colours.
{
  let wanted = null;
  try {
    wanted = localStorage.getItem("triptych-theme");
  } catch {
    // storage is switched off: the system's theme it is
  }
  if (wanted === "light" || wanted === "dark") document.documentElement.dataset.theme = wanted;
}
