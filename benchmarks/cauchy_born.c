// The limit in hand-written C of crystal.py: Cauchy-Born LJ, nb=4 basis, pairs (i,j,R0[3], weight 1/2 per ordered pair folded: half list, weight 1). SIMD over VL fibers.
// phi_c(r) = [4(r^-12-r^-6)] - shift - (r-rc)*slope  (shifted force), r<rc.
#include <math.h>
#include <string.h>
#define VL 8
typedef double v8[VL];
// mode 0: energy+stress; 1: Newton over shifts (nit iterations), then energy+stress
void k4_run(const double*F_,double*S_,long nF,int np,const int*pi,const int*pj,const double*R0,double rc,double vol,int nit,double*W,double*P){
  double ec=4*(pow(rc,-12)-pow(rc,-6)),dc=4*(-12*pow(rc,-13)+6*pow(rc,-7)),rc2=rc*rc;
  #pragma omp parallel for schedule(static)
  for(long f0=0;f0<nF;f0+=VL){ v8 F[9],s[12],g[9],H[45],E,st[9]; 
    for(int l=0;l<VL;l++){ for(int k=0;k<9;k++) F[k][l]=F_[(f0+l)*9+k]; for(int k=0;k<3;k++) s[k][l]=0; for(int k=0;k<9;k++) s[3+k][l]=S_[(f0+l)*9+k]; }
    for(int it=0;it<=nit;it++){ int last=it==nit;
      memset(E,0,sizeof E);memset(g,0,sizeof g);memset(H,0,sizeof H);memset(st,0,sizeof st);
      for(int p=0;p<np;p++){ const double*R=R0+3*p; int bi=pi[p],bj=pj[p]; v8 d[3],u,K1,K2;
        for(int l=0;l<VL;l++){ double r2=0; for(int a=0;a<3;a++){ double x=F[3*a][l]*R[0]+F[3*a+1][l]*R[1]+F[3*a+2][l]*R[2]+s[3*bj+a][l]-s[3*bi+a][l]; d[a][l]=x; r2+=x*x; }
          double m=r2<rc2?1.0:0.0,r=sqrt(r2),i2=1/r2,i6=i2*i2*i2; 
          double dr=dc/r; E[l]+=m*(4*i6*(i6-1)-ec-(r-rc)*dc); double f=m*((-48*i6*i6+24*i6)*i2-dr); u[l]=f; // phi'/r
          double h=m*(624*i6*i6-168*i6)*i2; K1[l]=(h-f)*i2; K2[l]=f; }              // K = K1 d d^T + K2 I
        if(last) for(int a=0;a<3;a++) for(int b=0;b<3;b++) for(int l=0;l<VL;l++) st[3*a+b][l]+=u[l]*d[a][l]*R[b];
        if(!last && bi!=bj){ for(int e=0;e<2;e++){ int B=e?bj:bi; double sg=e?1:-1; if(B) for(int a=0;a<3;a++) for(int l=0;l<VL;l++) g[3*(B-1)+a][l]+=sg*u[l]*d[a][l]; }
          for(int a=0;a<3;a++) for(int b=0;b<3;b++){ v8 k; for(int l=0;l<VL;l++) k[l]=K1[l]*d[a][l]*d[b][l]+(a==b?K2[l]:0);
            if(bi&&b<=a){ int I=3*(bi-1)+a,J=3*(bi-1)+b; for(int l=0;l<VL;l++) H[I*(I+1)/2+J][l]+=k[l]; }
            if(bj&&b<=a){ int I=3*(bj-1)+a,J=3*(bj-1)+b; for(int l=0;l<VL;l++) H[I*(I+1)/2+J][l]+=k[l]; }
            if(bi&&bj){ int I=3*(bi-1)+a,J=3*(bj-1)+b; if(I<J){int t=I;I=J;J=t;} for(int l=0;l<VL;l++) H[I*(I+1)/2+J][l]-=k[l]; } } } }
      if(last) break;
      for(int i=0;i<9;i++) for(int j=0;j<=i;j++){ v8 t; for(int l=0;l<VL;l++) t[l]=H[i*(i+1)/2+j][l]; for(int k=0;k<j;k++) for(int l=0;l<VL;l++) t[l]-=H[i*(i+1)/2+k][l]*H[j*(j+1)/2+k][l];
        for(int l=0;l<VL;l++) H[i*(i+1)/2+j][l]=i==j?sqrt(t[l]):t[l]/H[j*(j+1)/2+j][l]; }
      for(int i=0;i<9;i++){ for(int k=0;k<i;k++) for(int l=0;l<VL;l++) g[i][l]-=H[i*(i+1)/2+k][l]*g[k][l]; for(int l=0;l<VL;l++) g[i][l]/=H[i*(i+1)/2+i][l]; }
      for(int i=8;i>=0;i--){ for(int k=i+1;k<9;k++) for(int l=0;l<VL;l++) g[i][l]-=H[k*(k+1)/2+i][l]*g[k][l]; for(int l=0;l<VL;l++) g[i][l]/=H[i*(i+1)/2+i][l]; }
      for(int k=0;k<9;k++) for(int l=0;l<VL;l++) s[3+k][l]-=g[k][l]; }
    for(int l=0;l<VL;l++){ W[f0+l]=E[l]/vol; for(int k=0;k<9;k++){ P[(f0+l)*9+k]=st[k][l]/vol; S_[(f0+l)*9+k]=s[3+k][l]; } } } }
