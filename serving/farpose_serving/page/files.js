// Ways to hand this page a file: the button, the dialog, dropping and pasting.

/** Call `onFile` with each file that the visitor gives. */
export function takeFiles({ stage, input, buttons }, onFile) {
  for (const button of buttons) button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const [file] = input.files;
    input.value = ""; // so that the same file can be chosen again
    if (file) onFile(file);
  });

  let depth = 0; // dragenter and dragleave come for every element below
  const over = (more) => {
    depth = Math.max(0, depth + more);
    stage.dataset.over = String(depth > 0);
  };
  document.addEventListener("dragenter", () => over(1));
  document.addEventListener("dragleave", () => over(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault(); // else the browser would leave this page for the file
    over(-Infinity);
    const [file] = event.dataTransfer.files;
    if (file) onFile(file);
  });
  document.addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    if (file) onFile(file);
  });
}
