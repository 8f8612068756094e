declare module 'hpack.js' {
  /** Reads blocks of HTTP/2 headers. */
  export interface Decompressor {
    write(block: Buffer): void;
    execute(): void;
    read(): { readonly name: string; readonly value: string } | null;
  }
  const hpack: { decompressor: { create(options: { table: { maxSize: number } }): Decompressor } };
  export default hpack;
}
