export function Wordmark({ big = false }: { big?: boolean }) {
  return (
    <span className={big ? "sk-wordmark sk-wordmark--big" : "sk-wordmark"}>
      <img src="/console/skerry.svg" alt="" width={big ? 48 : 28} height={big ? 48 : 28} />
      <span>skerry</span>
    </span>
  );
}
