/** The one function of jstat that is used here. */
declare module 'jstat' {
  interface JStat {
    studentt: { inv(probability: number, degreesOfFreedom: number): number };
  }
  const jstat: { jStat: JStat };
  export default jstat;
}
