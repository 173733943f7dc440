// Browsers refuse links of more than 2 MB: the file moves out of the link, which works without scripts, into memory.
for (const link of document.querySelectorAll("a[download]")) {
  const bytes = Uint8Array.from(atob(link.href.split(",")[1]), (letter) => letter.charCodeAt(0));
  link.href = URL.createObjectURL(new Blob([bytes], { type: "text/csv" }));
}
